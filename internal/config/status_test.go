package config

import (
	"strings"
	"testing"
)

func TestStatusBlock(t *testing.T) {
	const target = "target \"plain\" \"a\" {\n  template {\n    contents = \"x\"\n    destination = \"/x\"\n  }\n}\n"
	for name, c := range map[string]struct {
		text string
		want Status
		says string // the problem; "" is none
	}{
		"no block":           {"", Status{}, ""},
		"the default":        {"status {\n}\n", Status{Listen: "127.0.0.1:9479"}, ""},
		"none":               {"status {\n  listen = \"\"\n  group = \"dba\"\n}\n", Status{Group: "dba"}, ""},
		"two blocks":         {"status {\n  group = \"dba\"\n}\nstatus {\n  listen = \"[::1]:1\"\n}\n", Status{Listen: "[::1]:1", Group: "dba"}, ""},
		"localhost":          {"status {\n  listen = \"localhost:1\"\n}\n", Status{Listen: "localhost:1"}, ""},
		"every address":      {"status {\n  listen = \":9479\"\n}\n", Status{Listen: ":9479"}, "warning: FILE:2:3: the status listener can be reached from other machines"},
		"another address":    {"status {\n  listen = \"10.0.0.1:9479\"\n}\n", Status{Listen: "10.0.0.1:9479"}, "warning: FILE:2:3: "},
		"a name":             {"status {\n  listen = \"edge:9479\"\n}\n", Status{Listen: "edge:9479"}, "warning: FILE:2:3: "},
		"diffs":              {"status {\n  diffs = true\n}\n", Status{Listen: "127.0.0.1:9479", Diffs: true}, ""},
		"no diffs after all": {"status {\n  diffs = true\n}\nstatus {\n  diffs = false\n}\n", Status{Listen: "127.0.0.1:9479"}, ""},
		"diffs for others":   {"status {\n  diffs = true\n  listen = \":1\"\n}\n", Status{Listen: ":1", Diffs: true}, "warning: FILE:3:3: the status listener can be reached from other machines: whoever connects sees the names and addresses of all servers, and what changes in the files"},
		"no port":            {"status {\n  listen = \"127.0.0.1\"\n}\n", Status{}, "FILE:2:3: listen \"127.0.0.1\" is no HOST:PORT"},
		"port 0":             {"status {\n  listen = \"127.0.0.1:0\"\n}\n", Status{}, "FILE:2:3: listen \"127.0.0.1:0\" is no HOST:PORT"},
		"a high port":        {"status {\n  listen = \"127.0.0.1:65536\"\n}\n", Status{}, "FILE:2:3: listen "},
		"another setting":    {"status {\n  listn = \":1\"\n}\n", Status{}, "FILE:2:3: Unsupported argument"},
	} {
		t.Run(name, func(t *testing.T) {
			config, problems, dir := load(t, "c.hcl", c.text+target)
			if said := strings.ReplaceAll(problems.Error(), dir+"/c.hcl", "FILE"); !strings.HasPrefix(said, c.says) || (c.says == "") != (said == "") {
				t.Errorf("it says %q, want %q", said, c.says)
			}
			if (config == nil) != problems.Fatal() || config != nil && config.Status != c.want {
				t.Errorf("config %+v", config)
			}
		})
	}
}
