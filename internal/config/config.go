package config

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher/cluster"

	"github.com/hashicorp/go-hclog"
)

// Config is a whole config.
type Config struct {
	LogLevel  string  // trace, debug, info, warn, error
	LogFormat string  // "plain", "json", or "" for what suits the output
	StateDir  string  // folder of the records
	Stores    []Store // the first is meant where none is named; there is one at least
	Clusters  []Cluster
	Targets   []Target
	Status    Status

	PIDFile      string    // where the process ID is kept; "" is nowhere
	Exec         *Exec     // runs once all targets are in sync, and is told when they changed; nil is none
	Syslog       *Syslog   // nil is none
	LogFile      *LogFile  // nil is none
	KillSignal   os.Signal // ends pgbaton beside SIGTERM and SIGINT; nil is none
	ReloadSignal os.Signal // reads the config anew; nil is SIGHUP
}

// Daemon is a kind of target's own settings.
type Daemon interface {
	Daemon(log hclog.Logger) (reload.Daemon, error)
}

// Resolver is a kind's settings with paths in them: relative ones begin where
// the config file is.
type Resolver interface{ Resolve(dir string) }

// Kinds are the settings that each kind of store and target brings. Each
// function returns a pointer to a new struct with hcl tags.
type Kinds struct {
	Stores   map[string]func() StoreSettings
	Clusters map[string]func() cluster.Settings
	Daemons  map[string]func() Daemon

	// Command is what runs the command of template blocks at the top level.
	Command func(Command) Daemon
}

// Command is what targets have in common; without Args there is none.
type Command struct {
	Args    []string
	Timeout string // "" is the default
	Env     Environment
	Targets int // how many there are
}

// Environment is what a program gets of pgbaton's own environment.
type Environment struct {
	Pristine bool     // nothing of it
	Allow    []string // names of it, with * for anything; none is all
	Deny     []string // likewise, and these win
	Custom   []string // NAME=VALUE, in any case
}

type loader struct {
	kinds    Kinds
	parser   *hclparse.Parser
	problems Problems
	builtin  func(name string) (string, bool)
	builtins []string
	private  func(string) bool
	idle     bool // a config without a target is one
}

// Options are what Load needs to know beside the files.
type Options struct {
	Kinds    Kinds
	Builtin  func(name string) (string, bool) // the text of a built-in template
	Builtins []string                         // their names
	Private  func(name string) bool           // whether nobody but the owner should read what one makes; nil is never
	Extra    []Extra                          // configs that are no files, after them
	Idle     bool                             // a config without a target is one
}

// Extra is a config that is no file.
type Extra struct {
	Name, Text string
	First      bool // it goes before the files, which go over it
	Exact      bool // it is HCL 2, whatever is in it
}

// Load reads configs: files, or folders of *.hcl and *.json in order of their
// names, merged. If it returns Problems that are Fatal, the Config is nil.
func Load(paths []string, o Options) (*Config, Problems) {
	l := &loader{kinds: o.Kinds, parser: hclparse.NewParser(), builtin: o.Builtin, builtins: o.Builtins, private: o.Private, idle: o.Idle}
	files := l.files(paths, o.Extra)
	var config *Config
	if !l.problems.Fatal() {
		config = l.decode(firstOf(paths, o.Extra), layers(files))
	}
	if l.problems.Fatal() {
		return nil, l.problems
	}
	return config, l.problems
}

// files parses configs, in the order in which they count.
func (l *loader) files(paths []string, extra []Extra) []*hcl.File {
	var first, files []*hcl.File
	for _, path := range paths {
		files = append(files, l.parse(path)...)
	}
	for _, e := range extra {
		into := &files
		if e.First {
			into = &first
		}
		*into = append(*into, l.parseExtra(e))
	}
	return slices.DeleteFunc(append(first, files...), func(f *hcl.File) bool { return f == nil })
}

// top is what stands at the top level beside the store.
type top struct {
	LogLevel  string         `hcl:"log_level,optional" default:"\"info\""`
	LogFormat string         `hcl:"log_format,optional" default:"by the output"`
	StateDir  string         `hcl:"state_dir,optional" default:"by the user"`
	Clusters  []clusterBlock `hcl:"cluster,block"`
	Targets   []targetBlock  `hcl:"target,block"`
	Status    []statusBlock  `hcl:"status,block"`

	// What consul-template's configs have beside.
	Loose        []looseBlock       `hcl:"template,block"`
	Wait         []waitBlock        `hcl:"wait,block"`
	Delimiters   []delimitersBlock  `hcl:"default_delimiters,block"`
	PIDFile      string             `hcl:"pid_file,optional" default:"none"`
	FatalErrors  *bool              `hcl:"template_error_fatal,optional" default:"false"`
	Exec         []execBlock        `hcl:"exec,block"`
	Syslog       []syslogBlock      `hcl:"syslog,block"`
	LogFile      []logFileBlock     `hcl:"log_file,block"`
	Deduplicate  []deduplicateBlock `hcl:"deduplicate,block"`
	KillSignal   string             `hcl:"kill_signal,optional" default:"none"`
	ReloadSignal string             `hcl:"reload_signal,optional" default:"\"SIGHUP\""`
	MaxStale     string             `hcl:"max_stale,optional" default:"none"`
	QueryWait    string             `hcl:"block_query_wait,optional" default:"none"`
}

func (l *loader) decode(first string, body hcl.Body) *Config {
	schema, _ := gohcl.ImpliedBodySchema(top{})
	stores := slices.Sorted(maps.Keys(l.kinds.Stores))
	for _, kind := range stores {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: kind})
	}
	known := names(schema)
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: name})
	}
	content, diags := body.Content(schema)
	l.diagnose(diags, known...)
	l.refuse(content.Blocks)

	// A second look through gohcl fills the plain part in.
	storeSchema := &hcl.BodySchema{}
	for _, kind := range slices.Concat(stores, slices.Collect(maps.Keys(refused))) {
		storeSchema.Blocks = append(storeSchema.Blocks, hcl.BlockHeaderSchema{Type: kind})
	}
	_, rest, _ := body.PartialContent(storeSchema)
	var t top
	diags = gohcl.DecodeBody(rest, nil, &t)
	l.diagnose(without(diags, l.problems))

	if strings.EqualFold(t.LogLevel, "err") {
		t.LogLevel = "error" // consul-template's word
	}
	c := &Config{
		LogLevel: cmp.Or(t.LogLevel, "info"), LogFormat: t.LogFormat, StateDir: cmp.Or(t.StateDir, StateDir()),
	}
	if a := content.Attributes["state_dir"]; a != nil {
		dir, err := besides(a.Range, c.StateDir)
		if err != nil {
			l.at(a.Range, err)
		}
		c.StateDir = dir
	}
	l.checkTop(content, c)
	l.stores(content, stores, c)
	for _, b := range t.Clusters {
		c.Clusters = append(c.Clusters, l.cluster(b))
	}
	for _, b := range t.Targets {
		c.Targets = append(c.Targets, l.target(b))
	}
	c.Targets = append(c.Targets, l.loose(t, c.Stores[0].Environment())...)
	c.Status = l.status(t.Status)
	l.process(content, t, c)
	l.checkNames(c, first)
	return c
}

// without leaves out what was reported at the same place already.
func without(diags hcl.Diagnostics, have Problems) hcl.Diagnostics {
	return slices.DeleteFunc(diags, func(d *hcl.Diagnostic) bool {
		return d.Subject != nil && slices.ContainsFunc(have, func(p Problem) bool {
			return p.File == d.Subject.Filename && p.Line == d.Subject.Start.Line && p.Column == d.Subject.Start.Column
		})
	})
}

func (l *loader) checkTop(content *hcl.BodyContent, c *Config) {
	if a := content.Attributes["log_level"]; a != nil && hclog.LevelFromString(c.LogLevel) == hclog.NoLevel {
		l.errorf(a.Range, "one of trace, debug, info, warn, error", "there is no log level %q", c.LogLevel)
	}
	if a := content.Attributes["log_format"]; a != nil && c.LogFormat != "plain" && c.LogFormat != "json" {
		l.errorf(a.Range, "plain or json", "there is no log format %q", c.LogFormat)
	}
}

// settings decodes a kind's own body. common are names that the caller took
// out of it before.
func (l *loader) settings(body hcl.Body, settings any, common ...string) {
	schema, _ := gohcl.ImpliedBodySchema(settings)
	l.diagnose(gohcl.DecodeBody(body, nil, settings), append(names(schema), common...)...)
}

func names(schema *hcl.BodySchema) []string {
	var list []string
	for _, a := range schema.Attributes {
		list = append(list, a.Name)
	}
	for _, b := range schema.Blocks {
		list = append(list, b.Type)
	}
	slices.Sort(list)
	return list
}

func implied(v any) []string {
	schema, _ := gohcl.ImpliedBodySchema(reflect.New(reflect.TypeOf(v)).Interface())
	return names(schema)
}

// checkNames finds names and destinations that are used twice.
func (l *loader) checkNames(c *Config, first string) {
	if len(c.Targets) == 0 && !l.idle && !l.problems.Fatal() {
		l.add(Problem{
			File: first, Code: explain.ConfigMissing, Message: "no target: there is nothing to keep in sync",
			Hint: `add a block like target "haproxy" "lb" { … }`,
		})
	}
	clusters, targets, paths := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, cl := range c.Clusters {
		if clusters[cl.Name] {
			l.fault(explain.ConfigConflict, cl.Range, "give one of them another name, and its scope", "cluster %q is there twice", cl.Name)
		}
		clusters[cl.Name] = true
		if c.storeNamed(cl.Store) == nil {
			var known []string
			for _, s := range c.Stores {
				known = append(known, s.Name)
			}
			l.unknown(where(cl.body, "store", cl.Range), "cluster "+cl.Name+": there is no store named %q", cl.Store, known)
		}
		if cl.Settings != nil && !cl.unread {
			if _, err := cl.Settings.Source(c.Place(cl)); err != nil {
				l.at(cl.Range, err)
			}
		}
	}
	for _, t := range c.Targets {
		id := t.Kind + " " + t.Name
		if targets[id] && t.Kind != LooseKind { // their paths tell them apart, below
			l.fault(explain.ConfigConflict, t.Range, "give one of them another name, or put their templates into one", "target %s is there twice", id)
		}
		targets[id] = true
		for _, tmpl := range t.Templates {
			if other, taken := paths[tmpl.Destination]; taken && tmpl.Destination != "" {
				l.fault(explain.ConfigConflict, tmpl.Range, "name another file, or take one of the two templates away", "target %s writes %s, which target %s writes too", id, tmpl.Destination, other)
			}
			paths[tmpl.Destination] = id
		}
	}
}

// SystemStateDir is where root's records belong.
const SystemStateDir = "/var/lib/pgbaton"

// StateDir is where records belong unless a config says something else: the system's folder for root, the user's
// own for anybody else.
func StateDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" { // systemd's StateDirectory=
		first, _, _ := strings.Cut(dir, ":")
		return first
	}
	if os.Geteuid() == 0 {
		return SystemStateDir
	}
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "pgbaton")
}

// folder is where the config file of r lies, from anywhere.
func folder(r hcl.Range) string {
	dir := filepath.Dir(r.Filename)
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// besides resolves a path of a config file from where that file is.
func besides(r hcl.Range, path string) (string, error) {
	if path == "" || filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	abs, err := filepath.Abs(filepath.Join(filepath.Dir(r.Filename), path))
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return abs, nil
}
