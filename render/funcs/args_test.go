package funcs

import (
	"net/url"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
)

func TestParseArgument(t *testing.T) {
	for text, want := range map[string]argument{
		"web":           {name: "web"},
		"a.b.web":       {name: "a.b.web"},
		"web@dc2":       {name: "web", options: watcher.Options{Datacenter: "dc2"}},
		"web~_agent":    {name: "web", options: watcher.Options{Near: "_agent"}},
		"web|any":       {name: "web", options: watcher.Options{Status: "any"}},
		"web@dc2~n|a,b": {name: "web", options: watcher.Options{Datacenter: "dc2", Near: "n", Status: "a,b"}},
		"web?ns=x":      {name: "web", options: watcher.Options{Namespace: "x"}},
		"web?ns=x@dc2":  {name: "web", options: watcher.Options{Namespace: "x", Datacenter: "dc2"}},
		"a/b?store=x":   {name: "a/b", store: "x"},
		"":              {},
		"@dc1":          {name: "", options: watcher.Options{Datacenter: "dc1"}},
		`web?filter="a|b@c&d" in Service.Tags&partition=p@dc2`: {name: "web", options: watcher.Options{
			Filter: `"a|b@c&d" in Service.Tags`, Partition: "p", Datacenter: "dc2",
		}},
		"web?filter=%22a%22+in+Service.Tags": {name: "web", options: watcher.Options{Filter: `"a" in Service.Tags`}},
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

// FuzzParseArgument: what is taken means the same when it is written out again, and
// no part of it reaches into another.
func FuzzParseArgument(f *testing.F) {
	for _, text := range []string{
		`web?filter="a|b"&ns=x@dc2~n|any`, "primary.web@dc1", "a.b.web|passing,critical", "web?ns=%26&peer=p+q", "web?filter=%22a%22+in+Tags",
		"web?filter=`a`&filter=b", "web?ns=a@b", "web??", "@~|", "web?ns", "web?filter=%zz", "w\x00b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := grammars.service.parse("service", text)
		if err != nil {
			return
		}
		again, err := grammars.service.parse("service", asText(a))
		if err != nil || again != a {
			t.Errorf("%q is %+v; written as %q it is %+v, error %v", text, a, asText(a), again, err)
		}
		if o := a.options; strings.ContainsAny(a.name+o.Tag+o.Datacenter+o.Near+o.Status, marks+"/&\"` \n") {
			t.Errorf("%q reaches further than its name: %+v", text, a)
		}
	})
}

// asText is an argument as text.
func asText(a argument) string {
	text, o := a.name, a.options
	if o.Tag != "" {
		text = o.Tag + "." + text
	}
	var pairs []string
	for _, p := range [][2]string{{"store", a.store}, {"ns", o.Namespace}, {"partition", o.Partition}, {"peer", o.Peer}, {"sameness-group", o.Sameness}, {"filter", o.Filter}} {
		if p[1] != "" {
			pairs = append(pairs, p[0]+"="+url.QueryEscape(p[1]))
		}
	}
	for _, part := range [][2]string{{"?", strings.Join(pairs, "&")}, {"@", o.Datacenter}, {"~", o.Near}, {"|", o.Status}} {
		if part[1] != "" {
			text += part[0] + part[1]
		}
	}
	return text
}
