package secret_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/secret"
)

func TestFind(t *testing.T) {
	for text, want := range map[string]string{
		`  token = "a1b2-c3"`:                                   "a1b2-c3",
		`  token      = "never closed`:                          "never closed",
		"token = bare":                                          "bare",
		`vars = { stats_auth = "admin:pw", port = 5 }`:          "admin:pw",
		`custom = ["APP_PASSWORD=pw1", "MODE=x"]`:               "pw1",
		"CONSUL_HTTP_TOKEN=abc":                                 "abc",
		"shop = host=10.0.0.1 user=app password=pw1 port=5432":  "pw1",
		"shop = host=10.0.0.1 password='it''s one' port=5432":   "it''s one",
		`{"name": "x", "password": "pw1"}`:                      "pw1",
		`say "{\"password\":\"pw1\"}"`:                          "pw1",
		"  password: pw 1":                                      "pw 1",
		"    stats auth admin:pw1":                              "pw1",
		"  user ada insecure-password pw1":                      "pw1",
		"  user ada password $6$salt$0123456789abcdef":          "$6$salt$0123456789abcdef",
		"    auth_pass pw1":                                     "pw1",
		`"ada" "pw1"`:                                           "pw1",
		`"ada" "SCRAM-SHA-256$4096:c2FsdA==$a:b"`:               "SCRAM-SHA-256$4096:c2FsdA==$a:b",
		"it is md50123456789abcdef0123456789abcdef here":        "md50123456789abcdef0123456789abcdef",
		"Get \"https://u:pw1@consul:8501/v1/kv?token=abc&x=1\"": "abc pw1",
		"Authorization: Basic dTpw":                             "dTpw",
		"-----BEGIN EC PRIVATE KEY-----\nAAAA\nBBBB\n-----END EC PRIVATE KEY-----\nCCCC": "AAAA BBBB",

		// Whole lines.
		"password=it's \\\"one\\\", & two":                      `it's \"one\", & two`,
		"dataSource.password=pw 1\nmaximumPoolSize=10":          "pw 1",
		"AWS_SECRET_ACCESS_KEY=\"p w\"\nWALG_LIBSODIUM_KEY=pw1": "p w pw1",
		"db1:5432:*:app:pw1\n10.0.0.2:*:app:the app:p\\:w 2":    `p\:w 2 pw1`,
		`2001\:db8\:\:1:5432:*:app:pw1`:                         "pw1",

		// None of these.
		`token_file = "/etc/token"`:                                           "",
		`password_file = "pw"`:                                                "",
		"password authentication failed for user \"app\"":                     "",
		"auth_type = scram-sha-256":                                           "",
		"auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1": "",
		"password={{ key \"db/password\" }}":                                  "",
		"server_login_retry = 15":                                             "",
		"bind 10.0.0.1:5000 password_encryption=x":                            "",
		"AWS_ACCESS_KEY_ID=AKIA":                                              "",
		"haproxy.cfg:123: parsing: in line: no such thing":                    "",
		"00:11:22:33:44:55":                                                   "",
		"root:x:0:0:root:/root:/bin/sh":                                       "",
		"2001:1234:5:6:7:8:9:a":                                               "",
		"http://10.0.0.1:8008/patroni":                                        "",
		"leader confirmed: cluster=main leader=pg1 address=10.0.0.11:5432 took=1ms term=\"3\"": "",
	} {
		have := secret.Find(text)
		slices.Sort(have)
		if strings.Join(slices.Compact(have), " ") != want {
			t.Errorf("%s\nhas %q, want %q", text, have, want)
		}
	}
}

// What was seen once is hidden in whatever words it stands afterwards.
func TestHide(t *testing.T) {
	k := &secret.Keeper{}
	k.Learn("admin_password = \"s3\\\"cret\"\nstats auth admin:Tr0ub4dor\n")
	k.Know("abc", "p w&d")
	for text, want := range map[string]string{
		"unknown keyword 'Tr0ub4dor' in section":    "unknown keyword '<hidden>' in section",
		`parsing "Tr0ub4dor!"`:                      `parsing "<hidden>!"`,
		"GET /?q=p+w%26d":                           "GET /?q=<hidden>",
		`{"m":"p w\u0026d"}`:                        `{"m":"<hidden>"}`,
		"abc is too short a value":                  "abc is too short a value",
		"other_password=zzz":                        "other_password=<hidden>",
		`3 | token = "tok"` + "\n" + "hint: none\n": `3 | token = "<hidden>"` + "\n" + "hint: none\n",
	} {
		if have := k.Hide(text); have != want {
			t.Errorf("%q, want %q", have, want)
		}
	}
	var out bytes.Buffer
	if n, err := k.Writer(&out).Write([]byte("it is Tr0ub4dor\n")); n != 16 || err != nil || out.String() != "it is <hidden>\n" {
		t.Errorf("written is %q, %d, %v", out.String(), n, err)
	}
	var nobody *secret.Keeper
	if have := nobody.Hide("token=abcd Tr0ub4dor"); have != "token=<hidden> Tr0ub4dor" {
		t.Errorf("without values: %q", have)
	}
}

// Of two texts one sees whether a secret is another one, and not which.
func TestVeil(t *testing.T) {
	k := &secret.Keeper{}
	k.Know("known-value")
	have := k.Veil("\"ada\" \"pw-one\"\n\"bob\" \"pw-two\"\nx known-value\n", "\"ada\" \"pw-one\"\n\"bob\" \"pw-three\"\nx known-value\n")
	for _, value := range []string{"pw-one", "pw-two", "pw-three", "known-value"} {
		if strings.Contains(strings.Join(have, ""), value) {
			t.Errorf("%s is shown: %q", value, have)
		}
	}
	old, fresh := strings.Split(have[0], "\n"), strings.Split(have[1], "\n")
	if old[0] != fresh[0] || old[1] == fresh[1] || old[2] != fresh[2] {
		t.Errorf("veiled %q", have)
	}
}

// FuzzHide: whatever the text, a known value is not in what is left of it.
func FuzzHide(f *testing.F) {
	f.Add("password=x s3cret", "s3cret")
	f.Fuzz(func(t *testing.T, text, value string) {
		k := &secret.Keeper{}
		k.Know(value)
		if len(value) >= 4 && !strings.Contains("<hidden>", value) && !strings.ContainsAny(value, "<>") && strings.Contains(k.Hide(text), value) {
			t.Errorf("%q is in %q", value, k.Hide(text))
		}
		k.Veil(text, value)
	})
}
