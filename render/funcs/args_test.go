package funcs

import (
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
)

func TestParseArgument(t *testing.T) {
	for text, want := range map[string]argument{
		"web":           {name: "web"},
		"a.b.web":       {name: "a.b.web"},
		"web@dc2":       {"web", watcher.Options{Datacenter: "dc2"}},
		"web~_agent":    {"web", watcher.Options{Near: "_agent"}},
		"web|any":       {"web", watcher.Options{Status: "any"}},
		"web@dc2~n|a,b": {"web", watcher.Options{Datacenter: "dc2", Near: "n", Status: "a,b"}},
		"web?ns=x":      {"web", watcher.Options{Namespace: "x"}},
		"web?ns=x@dc2":  {"web", watcher.Options{Namespace: "x", Datacenter: "dc2"}},
		"":              {},
		"@dc1":          {"", watcher.Options{Datacenter: "dc1"}},
		`web?filter="a|b@c&d" in Service.Tags&partition=p@dc2`: {"web", watcher.Options{
			Filter: `"a|b@c&d" in Service.Tags`, Partition: "p", Datacenter: "dc2",
		}},
		"web?filter=%22a%22+in+Service.Tags": {"web", watcher.Options{Filter: `"a" in Service.Tags`}},
	} {
		have, err := parse("service", text, marks)
		if err != nil || have != want {
			t.Errorf("%q is %+v, error %v; want %+v", text, have, err, want)
		}
	}
	// A mark that a function does not take is part of the name.
	if have, err := parse("key", "a|b~c", "?@"); err != nil || have.name != "a|b~c" {
		t.Errorf("key: %+v, %v", have, err)
	}
	for _, text := range []string{"web@", "web~", "web|", "web?", "web?x=1", `web?filter="open`} {
		if have, err := parse("service", text, marks); err == nil {
			t.Errorf("%q was taken as %+v", text, have)
		}
	}
}

func FuzzParseArgument(f *testing.F) {
	f.Add(`web?filter="a|b"&ns=x@dc2~n|any`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := parse("service", text, marks); err == nil && len(a.name) > len(text) {
			t.Errorf("%q became %+v", text, a)
		}
	})
}
