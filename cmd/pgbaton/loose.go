package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/spf13/cobra"
	"github.com/zclconf/go-cty/cty"

	"github.com/pgbaton/pgbaton/internal/config"
)

// looseFlags are flags that consul-template's users give instead of a config, or
// over it.
type looseFlags struct {
	templates []string
	values    map[string]*string // by flag
	ssl       map[string]*bool
}

// places are where a flag's value belongs: the names of blocks, and a setting.
var places = map[string][]string{
	"log-level":               {"log_level"},
	"pid-file":                {"pid_file"},
	"kill-signal":             {"kill_signal"},
	"reload-signal":           {"reload_signal"},
	"max-stale":               {"max_stale"},
	"block-query-wait":        {"block_query_wait"},
	"default-left-delimiter":  {"default_delimiters", "left"},
	"default-right-delimiter": {"default_delimiters", "right"},
	"consul-addr":             {"consul", "address"},
	"consul-namespace":        {"consul", "namespace"},
	"consul-token":            {"consul", "token"},
	"consul-token-file":       {"consul", "token_file"},
	"consul-ssl-ca-cert":      {"consul", "ssl", "ca_cert"},
	"consul-ssl-ca-path":      {"consul", "ssl", "ca_path"},
	"consul-ssl-cert":         {"consul", "ssl", "cert"},
	"consul-ssl-key":          {"consul", "ssl", "key"},
	"consul-ssl-server-name":  {"consul", "ssl", "server_name"},
}

// switches are those that are on or off.
var switches = map[string][]string{
	"consul-ssl":        {"consul", "ssl", "enabled"},
	"consul-ssl-verify": {"consul", "ssl", "verify"},
}

func (f *looseFlags) bind(cmd *cobra.Command) {
	f.values, f.ssl = map[string]*string{}, map[string]*bool{}
	for flag, place := range places {
		f.values[flag] = cmd.Flags().String(flag, "", "as "+strings.Join(place, ".")+" of a config")
	}
	for flag, place := range switches {
		f.ssl[flag] = cmd.Flags().Bool(flag, false, "as "+strings.Join(place, ".")+" of a config")
	}
	f.values["wait"] = cmd.Flags().String("wait", "", "as wait of a config: `MIN[:MAX]`")
	f.values["consul-auth"] = cmd.Flags().String("consul-auth", "", "as consul.auth of a config: `USER[:PASSWORD]`")
	cmd.Flags().StringArrayVar(&f.templates, "template", nil, "as a template block: `SOURCE:DESTINATION[:COMMAND]`; may be repeated")
}

// extra is what the flags say, as a config of its own that goes over the others.
func (f *looseFlags) extra(cmd *cobra.Command) ([]config.Extra, error) {
	file := hclwrite.NewEmptyFile()
	given := false
	set := func(place []string, value cty.Value) {
		given = true
		body := file.Body()
		for _, name := range place[:len(place)-1] {
			block := body.FirstMatchingBlock(name, nil)
			if block == nil {
				block = body.AppendNewBlock(name, nil)
			}
			body = block.Body()
		}
		body.SetAttributeValue(place[len(place)-1], value)
	}
	for flag, place := range places {
		if cmd.Flags().Changed(flag) {
			set(place, cty.StringVal(*f.values[flag]))
		}
	}
	for flag, place := range switches {
		if cmd.Flags().Changed(flag) {
			set(place, cty.BoolVal(*f.ssl[flag]))
		}
	}
	if text := *f.values["wait"]; text != "" {
		least, most, _ := strings.Cut(text, ":")
		set([]string{"wait", "min"}, cty.StringVal(least))
		set([]string{"wait", "max"}, cty.StringVal(most))
	}
	if text := *f.values["consul-auth"]; text != "" {
		user, password, _ := strings.Cut(text, ":")
		set([]string{"consul", "auth", "username"}, cty.StringVal(user))
		set([]string{"consul", "auth", "password"}, cty.StringVal(password))
	}
	for _, text := range f.templates {
		parts := strings.SplitN(text, ":", 3)
		if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
			return nil, usage(fmt.Errorf("-template %s: want SOURCE:DESTINATION[:COMMAND]", text), cmd.CommandPath())
		}
		body := file.Body().AppendNewBlock("template", nil).Body()
		body.SetAttributeValue("source", cty.StringVal(parts[0]))
		body.SetAttributeValue("destination", cty.StringVal(parts[1]))
		if len(parts) == 3 {
			body.SetAttributeValue("command", cty.StringVal(parts[2]))
		}
		given = true
	}
	var list []config.Extra
	if text := os.Getenv("CT_LOCAL_CONFIG"); text != "" {
		list = append(list, config.Extra{Name: "CT_LOCAL_CONFIG", Text: text})
	}
	if given {
		list = append(list, config.Extra{Name: "the command line", Text: string(file.Bytes())})
	}
	return list, nil
}

// verbless lets the daemon's flags stand without its verb, as consul-template's
// do.
func verbless(args []string) []string {
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return args
	}
	switch strings.TrimLeft(args[0], "-") {
	case "h", "help":
		return args
	case "v", "version":
		return []string{"version"}
	}
	return append([]string{"run"}, args...)
}

// pidFile keeps the process ID where the config wants it, until the end.
func pidFile(path string) (remove func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("write pid_file: %w", err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil { //nolint:gosec // others shall read it
		return nil, fmt.Errorf("write pid_file: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}
