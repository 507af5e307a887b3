package config

import (
	"bytes"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/pgbaton/pgbaton/internal/explain"
)

// Format lays a config out anew: blanks alone are changed. What is not HCL 2 can't be laid
// out: the Problems say where, and there is no text then.
func Format(path string, text []byte) ([]byte, Problems) {
	l := &loader{parser: hclparse.NewParser()}
	if filepath.Ext(path) == ".json" {
		l.add(Problem{
			File: path, Message: "a config in JSON is not laid out", Code: explain.ConfigSyntax,
			Hint: "jq . FILE lays JSON out",
		})
		return nil, l.problems
	}
	if !l.sane(path, text) {
		return nil, l.problems
	}
	_, diags := l.parser.ParseHCL(text, path)
	l.diagnose(diags)
	if l.problems.Fatal() {
		if _, err := parseLegacy(path, text); err == nil {
			for i := range l.problems {
				l.problems[i].Hint = "it is HCL 1, as configs of consul-template's are: pgbaton runs on it as it stands, and lays out HCL 2 alone"
			}
		}
		return nil, l.problems
	}
	formatted := hclwrite.Format(text)
	if !sameTokens(text, formatted) {
		l.add(Problem{File: path, Message: "it could not be laid out without a loss", Code: explain.ConfigSyntax, Hint: "leave it as it is, and report it"})
		return nil, l.problems
	}
	return formatted, nil
}

// sameTokens says whether two texts differ in blanks alone.
func sameTokens(a, b []byte) bool {
	lex := func(text []byte) hclsyntax.Tokens {
		tokens, _ := hclsyntax.LexConfig(text, "", hcl.InitialPos)
		return tokens
	}
	return slices.EqualFunc(lex(a), lex(b), func(one, other hclsyntax.Token) bool {
		// A comment to the end of its line may end in blanks, which go.
		return one.Type == other.Type && bytes.Equal(bytes.TrimRight(one.Bytes, " \t\r\n"), bytes.TrimRight(other.Bytes, " \t\r\n"))
	})
}
