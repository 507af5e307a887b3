package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/render"
)

// LooseKind is the kind of a target that a template block at the top level is:
// one file, as consul-template's users write it.
const LooseKind = "template"

// looseBlock is a template block at the top level.
type looseBlock struct {
	Source      string     `hcl:"source,optional" default:"none"`
	Contents    *string    `hcl:"contents,optional" default:"none"`
	Destination string     `hcl:"destination"`
	Command     cty.Value  `hcl:"command,optional" default:"none"`
	Timeout     string     `hcl:"command_timeout,optional" default:"\"30s\""`
	Perms       string     `hcl:"perms,optional" default:"those of the file, else \"0644\""`
	User        string     `hcl:"user,optional" default:"that of the file, else pgbaton's"`
	Group       string     `hcl:"group,optional" default:"that of the file, else pgbaton's"`
	MakeDirs    *bool      `hcl:"create_dest_dirs,optional" default:"true"` // nil is true
	Backup      bool       `hcl:"backup,optional" default:"false"`
	Strict      bool       `hcl:"error_on_missing_key,optional" default:"false"`
	Fatal       *bool      `hcl:"error_fatal,optional" default:"false"`
	Left        string     `hcl:"left_delimiter,optional" default:"\"{{\""`
	Right       string     `hcl:"right_delimiter,optional" default:"\"}}\""`
	Denied      []string   `hcl:"function_denylist,optional" default:"none"`
	Sandbox     string     `hcl:"sandbox_path,optional" default:"none"`
	Wait        *waitBlock `hcl:"wait,block"`
	Exec        *execBlock `hcl:"exec,block"`
	Body        hcl.Body   `hcl:",body"`
	Range       hcl.Range  `hcl:",def_range"`
}

// delimiters is the block default_delimiters.
type delimitersBlock struct {
	Left  string `hcl:"left,optional" default:"\"{{\""`
	Right string `hcl:"right,optional" default:"\"}}\""`
}

// sharing are targets with one command.
type sharing struct {
	Command
	targets []int
	at      hcl.Range
}

// loose makes targets of the template blocks at the top level. Those that have a
// command in common share its runs. store is what tells them of the store.
func (l *loader) loose(t top, store []string) []Target {
	var targets []Target
	shared := map[string]*sharing{}
	for _, b := range t.Loose {
		value, at := b.Command, where(b.Body, "command", b.Range)
		command := Command{Timeout: b.Timeout, Env: environment(nil, store)}
		if e := b.Exec; e != nil && (e.Enabled == nil || *e.Enabled) {
			value, at = e.Command, where(e.Body, "command", e.Range)
			command.Timeout, command.Env = cmp.Or(e.Timeout, b.Timeout), environment(e.Env, store)
			l.unsupervised(*e)
		}
		command.Args = l.command(value, at)
		key := fmt.Sprintf("%#v", command)
		if shared[key] == nil {
			shared[key] = &sharing{Command: command, at: at}
		}
		shared[key].targets = append(shared[key].targets, len(targets))
		target := l.looseTarget(b, t)
		if slices.ContainsFunc(targets, func(o Target) bool { return o.Name == target.Name }) && len(target.Templates) > 0 {
			sum := sha256.Sum256([]byte(target.Templates[0].Destination)) // a-b and a/b are one name
			target.Name += "-" + hex.EncodeToString(sum[:4])
		}
		targets = append(targets, target)
	}
	for _, s := range shared {
		s.Targets = len(s.targets)
		settings := l.kinds.Command(s.Command)
		if _, err := settings.Daemon(hclog.NewNullLogger()); err != nil {
			l.at(s.at, err)
		}
		for _, i := range s.targets {
			targets[i].Settings = settings
		}
	}
	return targets
}

// unsupervised warns of what means nothing for a command that runs to its end.
func (l *loader) unsupervised(e execBlock) {
	for name, given := range map[string]string{
		"reload_signal": e.ReloadSignal, "kill_signal": e.KillSignal, "kill_timeout": e.KillTimeout, "splay": e.Splay,
	} {
		if given != "" {
			l.add(warning(where(e.Body, name, e.Range), name+" has no effect on a template's command: it is killed when its timeout is over", "leave it out"))
		}
	}
}

func (l *loader) looseTarget(b looseBlock, t top) Target {
	target := Target{Kind: LooseKind, Range: b.Range}
	if b.Destination == "" {
		return target // it is said already
	}
	if b.Contents != nil && strings.HasPrefix(b.Source, "builtin:") {
		l.fault(explain.ConfigConflict, b.Range, "keep one of them", "a template has either source or contents")
	}
	// Paths begin at the working directory, as consul-template has them.
	source, destination := b.Source, absolute(b.Destination)
	if source != "" && !strings.HasPrefix(source, "builtin:") {
		source = absolute(source)
	}
	tmpl := l.template(templateBlock{
		Source: source, Contents: b.Contents, Destination: destination, Perms: b.Perms, User: b.User, Group: b.Group,
		MakeDirs: b.MakeDirs == nil || *b.MakeDirs, Backup: b.Backup, Body: b.Body, Range: b.Range,
	})
	tmpl.Rules = render.Rules{Delims: render.Delims{Left: b.Left, Right: b.Right}, MissingKeys: !b.Strict, Relative: true, Denied: b.Denied}
	if b.Sandbox != "" {
		tmpl.Rules.Sandbox = absolute(b.Sandbox)
	}
	if d := fold(t.Delimiters); d != nil {
		tmpl.Rules.Delims.Left, tmpl.Rules.Delims.Right = cmp.Or(b.Left, d.Left), cmp.Or(b.Right, d.Right)
	}
	target.Name, target.Templates = looseName(destination), []Template{tmpl}
	wait := b.Wait
	if wait == nil {
		wait = fold(t.Wait)
	}
	if wait != nil {
		target.WaitMin, target.WaitMax = l.wait(*wait)
		if target.WaitMax == 0 {
			target.WaitMax = 4 * target.WaitMin // consul-template's own
		}
	}
	if b.Fatal != nil && *b.Fatal {
		l.add(warning(where(b.Body, "error_fatal", b.Range), "error_fatal = true has no effect: an error of one template never ends pgbaton",
			"it is logged, and tried again when something changes"))
	}
	return target
}

// command is a text, which a shell reads, or a list, which none does. Nil is no
// command.
func (l *loader) command(value cty.Value, at hcl.Range) []string {
	if value == cty.NilVal || value.IsNull() {
		return nil
	}
	var args []string
	switch v := fromCty(value).(type) {
	case string:
		if v = strings.TrimSpace(v); v != "" {
			args = []string{v}
		}
	case []any:
		for _, arg := range v {
			args = append(args, fmt.Sprint(arg))
		}
	default:
		l.errorf(at, `a text, which sh reads, or a list, as in ["systemctl", "reload", "nginx"]`, "command is neither a text nor a list")
	}
	if len(args) == 1 {
		return []string{"sh", "-c", args[0]}
	}
	return args
}

// refused are blocks of consul-template's that speak of other stores.
var refused = map[string]string{
	"vault": "pgbaton does not read Vault: let Vault's own agent render what needs its secrets",
	"nomad": "pgbaton does not read Nomad",
}

// refuse names blocks that pgbaton does not know, each in its place.
func (l *loader) refuse(blocks hcl.Blocks) {
	for _, b := range blocks {
		if advice, is := refused[b.Type]; is {
			l.fault(explain.ConfigUnknown, b.DefRange, advice, "%s is not supported", b.Type)
		}
	}
}

func warning(at hcl.Range, message, advice string) Problem {
	return Problem{File: at.Filename, Line: at.Start.Line, Column: at.Start.Column, Message: message, Hint: advice, Warning: true, Code: explain.ConfigNoEffect}
}

// looseName makes a name of a path.
func looseName(path string) string {
	return regexp.MustCompile(`[^A-Za-z0-9_.-]+`).ReplaceAllString(strings.Trim(path, "/"), "-")
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// wait reads a wait block.
func (l *loader) wait(b waitBlock) (least, most time.Duration) {
	if b.Enabled != nil && !*b.Enabled {
		return 0, 0
	}
	least, most = l.duration(where(b.Body, "min", b.Range), "min", b.Min), l.duration(where(b.Body, "max", b.Range), "max", b.Max)
	if most > 0 && most < least {
		l.errorf(b.Range, "max is how long a change waits at most, min how long it has to be quiet", "wait: max is shorter than min")
	}
	return least, most
}
