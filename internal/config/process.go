package config

import (
	"cmp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/explain"
)

// What consul-template's configs say of the process as a whole.

// execBlock is a child process; in a template block, its command.
type execBlock struct {
	Command      cty.Value `hcl:"command,optional" default:"none"`
	Enabled      *bool     `hcl:"enabled,optional" default:"true"` // nil is true
	ReloadSignal string    `hcl:"reload_signal,optional" default:"none"`
	KillSignal   string    `hcl:"kill_signal,optional" default:"\"SIGTERM\""`
	KillTimeout  string    `hcl:"kill_timeout,optional" default:"\"30s\""`
	Splay        string    `hcl:"splay,optional" default:"\"0s\""`
	Timeout      string    `hcl:"timeout,optional" default:"\"30s\""`
	Env          *envBlock `hcl:"env,block"`
	Body         hcl.Body  `hcl:",body"`
	Range        hcl.Range `hcl:",def_range"`
}

type envBlock struct {
	Pristine bool     `hcl:"pristine,optional" default:"false"`
	Custom   []string `hcl:"custom,optional" default:"none"`
	Allow    []string `hcl:"allowlist,optional" default:"all"`
	Deny     []string `hcl:"denylist,optional" default:"none"`
}

type syslogBlock struct {
	Enabled  *bool  `hcl:"enabled,optional" default:"true"` // nil is true
	Facility string `hcl:"facility,optional" default:"\"LOCAL0\""`
	Name     string `hcl:"name,optional" default:"\"pgbaton\""`
}

type logFileBlock struct {
	Path     string    `hcl:"path,optional" default:"none"`
	Bytes    int64     `hcl:"log_rotate_bytes,optional" default:"no limit"`
	Duration string    `hcl:"log_rotate_duration,optional" default:"\"24h\""`
	MaxFiles int       `hcl:"log_rotate_max_files,optional" default:"all"`
	Body     hcl.Body  `hcl:",body"`
	Range    hcl.Range `hcl:",def_range"`
}

type deduplicateBlock struct {
	Enabled   bool      `hcl:"enabled,optional" default:"false"`
	Prefix    string    `hcl:"prefix,optional" default:"none"`
	TTL       string    `hcl:"ttl,optional" default:"none"`
	MaxStale  string    `hcl:"max_stale,optional" default:"none"`
	QueryWait string    `hcl:"block_query_wait,optional" default:"none"`
	Range     hcl.Range `hcl:",def_range"`
}

// Exec is a child process. Zero fields take the defaults beside them.
type Exec struct {
	Command      []string
	ReloadSignal syscall.Signal // 0: a reload is a stop and a start
	KillSignal   syscall.Signal // 0 is SIGTERM
	KillTimeout  time.Duration  // 0 is 30 s
	Splay        time.Duration
	Environment
}

// Syslog is where logs go beside; its Facility is one of syslog's own names.
type Syslog struct{ Facility, Name string }

// LogFile is a file for logs. Zero fields take the defaults beside them.
type LogFile struct {
	Path     string        // one that ends in a slash is a folder, for pgbaton.log
	Bytes    int64         // begin another when it has so many; 0 is no limit
	Duration time.Duration // begin another after so long; 0 is 24 hours
	MaxFiles int           // how many full ones to keep; 0 is all, less than 0 none
}

// process reads what concerns the process as a whole.
func (l *loader) process(content *hcl.BodyContent, t top, c *Config) {
	at := func(name string) hcl.Range {
		if a := content.Attributes[name]; a != nil {
			return a.Range
		}
		return content.MissingItemRange
	}
	if t.PIDFile != "" {
		c.PIDFile = absolute(t.PIDFile)
	}
	if s := l.signal(at("kill_signal"), "kill_signal", t.KillSignal); s != 0 {
		c.KillSignal = s
	}
	if s := l.signal(at("reload_signal"), "reload_signal", t.ReloadSignal); s != 0 {
		c.ReloadSignal = s
	}
	if t.MaxStale != "" {
		l.duration(at("max_stale"), "max_stale", t.MaxStale)
		l.add(warning(at("max_stale"), "max_stale has no effect: pgbaton decides nothing from stale reads", "leave it out"))
	}
	if t.QueryWait != "" {
		l.duration(at("block_query_wait"), "block_query_wait", t.QueryWait)
	}
	for _, s := range c.Stores {
		if w, takes := s.Settings.(interface{ QueryWait(string) }); takes && t.QueryWait != "" {
			w.QueryWait(t.QueryWait)
		}
	}
	if t.FatalErrors != nil && *t.FatalErrors {
		l.add(warning(at("template_error_fatal"), "template_error_fatal = true has no effect: an error of one template never ends pgbaton", "leave it out"))
	}
	if e := fold(t.Exec); e != nil {
		c.Exec = l.exec(*e, c.Stores[0].Environment())
	}
	if s := fold(t.Syslog); s != nil && (s.Enabled == nil || *s.Enabled) {
		c.Syslog = &Syslog{Facility: cmp.Or(s.Facility, "LOCAL0"), Name: cmp.Or(s.Name, "pgbaton")}
	}
	if f := fold(t.LogFile); f != nil && f.Path != "" {
		path := absolute(f.Path)
		if strings.HasSuffix(f.Path, "/") {
			path += "/pgbaton.log"
		}
		c.LogFile = &LogFile{
			Path: path, Bytes: f.Bytes, MaxFiles: f.MaxFiles,
			Duration: l.duration(where(f.Body, "log_rotate_duration", f.Range), "log_rotate_duration", f.Duration),
		}
	}
	if d := fold(t.Deduplicate); d != nil && d.Enabled {
		l.add(warning(d.Range, "deduplicate has no effect: each pgbaton renders for itself, from watches that its templates share",
			"leave the block out; raise limits.http_max_conns_per_client of the agent where many templates watch many things"))
	}
}

// signal reads the name of a signal; 0 is none.
func (l *loader) signal(at hcl.Range, setting, name string) syscall.Signal {
	if name == "" {
		return 0
	}
	n := unix.SignalNum(strings.ToUpper(name))
	if n == 0 {
		l.errorf(at, `as in "SIGUSR1"`, "%s: there is no signal %q", setting, name)
	}
	return n
}

// exec is the child process of an exec block; nil if there is none.
func (l *loader) exec(b execBlock, store []string) *Exec {
	if b.Enabled != nil && !*b.Enabled {
		return nil
	}
	args := l.command(b.Command, where(b.Body, "command", b.Range))
	if len(args) == 0 {
		l.fault(explain.ConfigMissing, b.Range, `command = "app --config /etc/app.conf"`, "exec: command is required")
		return nil
	}
	at := func(name string) hcl.Range { return where(b.Body, name, b.Range) }
	e := &Exec{
		Command:      args,
		ReloadSignal: l.signal(at("reload_signal"), "reload_signal", b.ReloadSignal),
		KillSignal:   l.signal(at("kill_signal"), "kill_signal", b.KillSignal),
		KillTimeout:  l.duration(at("kill_timeout"), "kill_timeout", b.KillTimeout),
		Splay:        l.duration(at("splay"), "splay", b.Splay),
		Environment:  environment(b.Env, store),
	}
	return e
}

// environment is what a program gets, the variables of the store included.
func environment(b *envBlock, store []string) Environment {
	e := Environment{Custom: store}
	if b != nil {
		e = Environment{Pristine: b.Pristine, Allow: b.Allow, Deny: b.Deny, Custom: slices.Concat(store, b.Custom)}
	}
	return e
}
