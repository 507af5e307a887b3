package funcs

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // a name for content, no secret
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
	"gopkg.in/yaml.v2" // consul-template's: version 3 reads and writes other bytes
)

// parsing reads text. Empty text is an empty value: it comes from something
// that is still missing.
func parsing() template.FuncMap {
	return template.FuncMap{
		"parseJSON": func(s string) (any, error) {
			if s == "" {
				return map[string]any{}, nil
			}
			var v any
			err := json.Unmarshal([]byte(s), &v)
			return v, err
		},
		"parseYAML": func(s string) (any, error) {
			if s == "" {
				return map[string]any{}, nil
			}
			var v any
			err := yaml.Unmarshal([]byte(s), &v)
			return v, err
		},
		"parseBool": func(s string) (bool, error) { return orZero(s, strconv.ParseBool) },
		"parseInt": func(s string) (int64, error) {
			return orZero(s, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
		},
		"parseUint": func(s string) (uint64, error) {
			return orZero(s, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
		},
		"parseFloat": func(s string) (float64, error) {
			return orZero(s, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
		},
	}
}

func orZero[T any](s string, parse func(string) (T, error)) (T, error) {
	if s == "" {
		var zero T
		return zero, nil
	}
	return parse(s)
}

func encoding() template.FuncMap {
	return template.FuncMap{
		"toJSON":                func(v any) (string, error) { return toJSON(v, "", true) },
		"toJSONPretty":          func(v any) (string, error) { return toJSON(v, "  ", true) },
		"toUnescapedJSON":       func(v any) (string, error) { return toJSON(v, "", false) },
		"toUnescapedJSONPretty": func(v any) (string, error) { return toJSON(v, "  ", false) },
		"toTOML": func(v any) (string, error) {
			var out bytes.Buffer
			err := toml.NewEncoder(&out).Encode(v)
			return strings.TrimSpace(out.String()), err
		},
		"toYAML": func(v any) (string, error) {
			out, err := yaml.Marshal(v)
			return strings.TrimSpace(string(out)), err
		},
		"base64Encode":    func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64URLEncode": func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"base64Decode": func(s string) (string, error) {
			out, err := base64.StdEncoding.DecodeString(s)
			return string(out), err
		},
		"base64URLDecode": func(s string) (string, error) {
			out, err := base64.URLEncoding.DecodeString(s)
			return string(out), err
		},
		"sha256Hex": func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
		"md5sum":    func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }, //nolint:gosec // as above
		"hmacSHA256Hex": func(message, key string) string {
			mac := hmac.New(sha256.New, []byte(key))
			_, _ = mac.Write([]byte(message))
			return hex.EncodeToString(mac.Sum(nil))
		},
	}
}

// toJSON writes v as JSON. escape is for HTML, which is json's own habit: <, > and
// & become \u003c and so on.
func toJSON(v any, indent string, escape bool) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(escape)
	encoder.SetIndent("", indent)
	err := encoder.Encode(v)
	return strings.TrimSpace(out.String()), err
}
