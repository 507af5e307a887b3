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
	on        map[string]*bool
	many      map[string]*[]string
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

	"consul-retry-attempts":                    {"consul", "retry", "attempts"},
	"consul-retry-backoff":                     {"consul", "retry", "backoff"},
	"consul-retry-max-backoff":                 {"consul", "retry", "max_backoff"},
	"consul-transport-dial-keep-alive":         {"consul", "transport", "dial_keep_alive"},
	"consul-transport-dial-timeout":            {"consul", "transport", "dial_timeout"},
	"consul-transport-max-idle-conns-per-host": {"consul", "transport", "max_idle_conns_per_host"},
	"consul-transport-tls-handshake-timeout":   {"consul", "transport", "tls_handshake_timeout"},

	"exec":                 {"exec", "command"},
	"exec-kill-signal":     {"exec", "kill_signal"},
	"exec-kill-timeout":    {"exec", "kill_timeout"},
	"exec-reload-signal":   {"exec", "reload_signal"},
	"exec-splay":           {"exec", "splay"},
	"log-file":             {"log_file", "path"},
	"log-rotate-bytes":     {"log_file", "log_rotate_bytes"},
	"log-rotate-duration":  {"log_file", "log_rotate_duration"},
	"log-rotate-max-files": {"log_file", "log_rotate_max_files"},
	"syslog-facility":      {"syslog", "facility"},
	"syslog-name":          {"syslog", "name"},
}

// lists are those that may be repeated.
var lists = map[string][]string{
	"exec-env-custom":    {"exec", "env", "custom"},
	"exec-env-allowlist": {"exec", "env", "allowlist"},
	"exec-env-denylist":  {"exec", "env", "denylist"},
}

// switches are those that are on or off.
var switches = map[string][]string{
	"consul-ssl":        {"consul", "ssl", "enabled"},
	"consul-ssl-verify": {"consul", "ssl", "verify"},

	"consul-retry":                         {"consul", "retry", "enabled"},
	"consul-transport-disable-keep-alives": {"consul", "transport", "disable_keep_alives"},
	"dedup":                                {"deduplicate", "enabled"},
	"exec-env-pristine":                    {"exec", "env", "pristine"},
	"syslog":                               {"syslog", "enabled"},
	"template-error-fatal":                 {"template_error_fatal"},
}

func (f *looseFlags) bind(cmd *cobra.Command) {
	f.values, f.on, f.many = map[string]*string{}, map[string]*bool{}, map[string]*[]string{}
	for flag, place := range places {
		f.values[flag] = cmd.Flags().String(flag, "", "as "+strings.Join(place, ".")+" of a config")
	}
	for flag, place := range switches {
		f.on[flag] = cmd.Flags().Bool(flag, false, "as "+strings.Join(place, ".")+" of a config")
	}
	for flag, place := range lists {
		f.many[flag] = cmd.Flags().StringArray(flag, nil, "as "+strings.Join(place, ".")+" of a config; may be repeated")
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
			set(place, cty.BoolVal(*f.on[flag]))
		}
	}
	for flag, place := range lists {
		var list []cty.Value
		for _, text := range *f.many[flag] {
			list = append(list, cty.StringVal(text))
		}
		if len(list) > 0 {
			set(place, cty.ListVal(list))
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
	if level := os.Getenv("CONSUL_TEMPLATE_LOG"); level != "" && !cmd.Flags().Changed("log-level") {
		list = append(list, config.Extra{Name: "CONSUL_TEMPLATE_LOG", Text: fmt.Sprintf("log_level = %q\n", level), First: true})
	}
	if text := os.Getenv("CT_LOCAL_CONFIG"); text != "" {
		list = append(list, config.Extra{Name: "CT_LOCAL_CONFIG", Text: text})
	}
	if given {
		list = append(list, config.Extra{Name: "the command line", Text: string(file.Bytes()), Exact: true})
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
