package config

import (
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

// Target is a target block.
type Target struct {
	Kind         string
	Name         string
	Templates    []Template
	Vars         map[string]any
	Minimum      map[string]int // instances that a service needs; 1 for those not named
	WaitMin      time.Duration
	WaitMax      time.Duration
	Check        []string // a command that checks on top of the kind's own check
	CheckTimeout time.Duration
	Keeps        reload.Keeps // what the programs that check are left
	Hold         bool         // clients wait while the leader changes
	MaxRemoval   float64      // share of a file's lines that one change may remove; 0 is no limit
	LeaveDrift   bool         // files that somebody else changed stay until the next change
	OnChange     []string     // a command to run after the leader changed
	Settings     Daemon
	Range        hcl.Range
}

// Template is a template block.
type Template struct {
	Source      string // a file; "" if Text is the template
	Name        string // what errors call it
	Text        string
	Rules       render.Rules
	Destination string
	Perms       *fs.FileMode
	User, Group string // names or numbers; "" keeps
	MakeDirs    bool
	Backup      bool
	Range       hcl.Range
}

type targetBlock struct {
	Kind         string          `hcl:"kind,label"`
	Name         string          `hcl:"name,label"`
	Templates    []templateBlock `hcl:"template,block"`
	Vars         cty.Value       `hcl:"vars,optional" default:"none"`
	Minimum      map[string]int  `hcl:"minimum,optional" default:"1 for each"`
	Wait         *waitBlock      `hcl:"wait,block"`
	Check        []string        `hcl:"check,optional" default:"none"`
	CheckTimeout string          `hcl:"check_timeout,optional" default:"\"30s\""`
	CheckNetwork *bool           `hcl:"check_network,optional" default:"by the kind"` // nil: as the kind has it
	CheckEnv     []string        `hcl:"check_env,optional" default:"none"`
	Hold         bool            `hcl:"hold,optional" default:"false"`
	Drift        string          `hcl:"drift,optional" default:"\"repair\""`
	MaxRemoval   *float64        `hcl:"max_removal,optional" default:"none"`
	OnChange     []string        `hcl:"on_leader_change,optional" default:"none"`
	Rest         hcl.Body        `hcl:",remain"`
	Body         hcl.Body        `hcl:",body"`
	Range        hcl.Range       `hcl:",def_range"`
}

type waitBlock struct {
	Enabled *bool     `hcl:"enabled,optional" default:"true"` // nil is true
	Min     string    `hcl:"min,optional" default:"\"0s\""`
	Max     string    `hcl:"max,optional" default:"no limit"`
	Body    hcl.Body  `hcl:",body"`
	Range   hcl.Range `hcl:",def_range"`
}

type templateBlock struct {
	Source      string    `hcl:"source,optional" default:"none"`
	Contents    *string   `hcl:"contents,optional" default:"none"`
	Destination string    `hcl:"destination"`
	Perms       string    `hcl:"perms,optional" default:"those of the file, else \"0644\"; \"0600\" for a built-in template that may hold a password"`
	User        string    `hcl:"user,optional" default:"that of the file, else pgbaton's; pgbaton's in the place of root, where it may not give a file to root"`
	Group       string    `hcl:"group,optional" default:"that of the file, else pgbaton's; pgbaton's in the place of root's likewise, if perms is set or lets no group in"`
	MakeDirs    bool      `hcl:"create_dest_dirs,optional" default:"false"`
	Backup      bool      `hcl:"backup,optional" default:"false"`
	Left        string    `hcl:"left_delimiter,optional" default:"\"{{\""`
	Right       string    `hcl:"right_delimiter,optional" default:"\"}}\""`
	Body        hcl.Body  `hcl:",body"`
	Range       hcl.Range `hcl:",def_range"`
}

func (l *loader) target(b targetBlock) Target {
	t := Target{Kind: b.Kind, Name: b.Name, Minimum: b.Minimum, Check: b.Check, Hold: b.Hold, OnChange: b.OnChange, Range: b.Range}
	if notName(b.Name) {
		l.errorf(b.Range, "letters, digits, - and _", "target name %q", b.Name)
	}
	t.CheckTimeout = l.duration(where(b.Body, "check_timeout", b.Range), "check_timeout", b.CheckTimeout)
	if t.CheckTimeout > 0 && len(b.Check) == 0 {
		l.errorf(where(b.Body, "check_timeout", b.Range), "the kind's own check has its time limit in timeout", "check_timeout without check has no effect")
	}
	t.Keeps = reload.Keeps{Network: b.CheckNetwork, Env: b.CheckEnv}
	if b.MaxRemoval != nil {
		if t.MaxRemoval = *b.MaxRemoval; !(t.MaxRemoval > 0 && t.MaxRemoval <= 1) {
			l.errorf(where(b.Body, "max_removal", b.Range), "max_removal = 0.5 refuses what removes more than half of a file", "max_removal %v is no share above 0 and up to 1", t.MaxRemoval)
		}
	}
	switch b.Drift {
	case "", "repair":
	case "report":
		t.LeaveDrift = true
	default:
		l.errorf(where(b.Body, "drift", b.Range), `"repair" puts right what somebody else changed, "report" says so and leaves it until the next change`, "drift %q is not known", b.Drift)
	}
	if b.Wait != nil {
		t.WaitMin, t.WaitMax = l.wait(*b.Wait)
	}
	if b.Vars != cty.NilVal && !b.Vars.IsNull() {
		vars, ok := fromCty(b.Vars).(map[string]any)
		if !ok {
			l.errorf(where(b.Body, "vars", b.Range), "vars = { listen_port = 6432 }", "target %s: vars is no map", b.Name)
		}
		t.Vars = vars
	}
	if len(b.Templates) == 0 {
		l.fault(explain.ConfigMissing, b.Range, "add a template block with source and destination", "target %s %s has no template", b.Kind, b.Name)
	}
	for _, tb := range b.Templates {
		t.Templates = append(t.Templates, l.template(tb))
	}
	l.unused(t, b.Body)

	kind := l.kinds.Daemons[b.Kind]
	if kind == nil {
		l.unknown(b.Range, "there is no kind of target named %q", b.Kind, slices.Collect(maps.Keys(l.kinds.Daemons)))
		return t
	}
	t.Settings = kind()
	before := len(l.problems)
	l.settings(b.Rest, t.Settings, implied(targetBlock{})...)
	if len(l.problems) > before {
		return t
	}
	if r, ok := t.Settings.(Resolver); ok {
		r.Resolve(folder(b.Range))
	}
	daemon, err := t.Settings.Daemon(hclog.NewNullLogger())
	if err != nil {
		l.at(settingOf(b.Body, b.Range, err), err)
		return t
	}
	l.confine(b, t, daemon)
	if _, can := reload.As[reload.Holder](daemon); b.Hold && !can {
		l.errorf(where(b.Body, "hold", b.Range), "leave hold out; pgbouncer can, and haproxy with a master_socket", "target %s %s: %[1]s can't keep clients waiting", b.Kind, b.Name)
	}
	return t
}

// confine looks whether a target's checks can do with what they are left.
func (l *loader) confine(b targetBlock, t Target, daemon reload.Daemon) {
	setting := "check_env"
	if b.CheckNetwork != nil {
		setting = "check_network"
	}
	confiner, can := reload.As[reload.Confiner](daemon)
	if can {
		if err := confiner.Confine(t.Keeps); err != nil {
			l.at(where(b.Body, setting, b.Range), fmt.Errorf("target %s %s: %w", t.Kind, t.Name, err))
		}
	} else if len(b.Check) == 0 && (b.CheckNetwork != nil || b.CheckEnv != nil) {
		l.errorf(where(b.Body, setting, b.Range), "leave it out, or add check", "target %s %s: %s has no effect: no program checks its files", t.Kind, t.Name, setting)
	}
}

func (l *loader) template(b templateBlock) Template {
	t := Template{
		Rules: render.Rules{Delims: render.Delims{Left: b.Left, Right: b.Right}}, User: b.User, Group: b.Group, MakeDirs: b.MakeDirs, Backup: b.Backup, Range: b.Range,
	}
	var err error
	if t.Destination, err = besides(b.Range, b.Destination); err != nil || b.Destination == "" && where(b.Body, "destination", b.Range) != b.Range {
		l.errorf(where(b.Body, "destination", b.Range), "name the file that the daemon reads", "destination %q is no path", b.Destination)
	}
	if b.Perms != "" {
		bits, err := strconv.ParseUint(b.Perms, 8, 32)
		if err != nil || bits > 0o777 {
			l.errorf(where(b.Body, "perms", b.Range), `write them in octal, as "0640"`, "perms %q are no permissions", b.Perms)
		}
		mode := fs.FileMode(bits)
		t.Perms = &mode
	}
	builtin, isBuiltin := strings.CutPrefix(b.Source, "builtin:")
	switch {
	case (b.Source == "") == (b.Contents == nil):
		code := explain.ConfigMissing
		if b.Contents != nil {
			code = explain.ConfigConflict
		}
		l.fault(code, b.Range, `source = "/path" or "builtin:NAME", or contents = <<EOT`, "a template has either source or contents")
	case b.Contents != nil:
		t.Name, t.Text = fmt.Sprintf("contents for %s", t.Destination), *b.Contents
	case isBuiltin:
		text, ok := l.builtin(builtin)
		if !ok {
			advice := "the built-in templates are " + strings.Join(l.builtins, ", ")
			stem := func(name string) bool {
				return name[:strings.LastIndexByte(name, '.')] == strings.Split(builtin, ".")[0]
			}
			near := render.Nearest(builtin, l.builtins)
			if i := slices.IndexFunc(l.builtins, stem); near == "" && i >= 0 {
				near = l.builtins[i]
			}
			if near != "" {
				advice = fmt.Sprintf("did you mean %q?", "builtin:"+near)
			}
			l.fault(explain.ConfigUnknown, where(b.Body, "source", b.Range), advice, "there is no built-in template %q", builtin)
		}
		t.Name, t.Text = b.Source, text
		if t.Perms == nil && b.Perms == "" && l.private != nil && l.private(builtin) {
			mode := fs.FileMode(0o600)
			t.Perms = &mode
		}
	default:
		if t.Source, err = besides(b.Range, b.Source); err != nil {
			l.at(b.Range, err)
		}
		t.Name = t.Source
	}
	return t
}

// unused finds vars and minimums that no template asks for: mostly typos. It
// gives up where that can't be known: a template that may change while we run,
// or that does not parse, or that makes names up.
func (l *loader) unused(t Target, body hcl.Body) {
	var vars, services []string
	for _, tmpl := range t.Templates {
		if tmpl.Source != "" {
			return
		}
		parsed, err := render.Parse(tmpl.Name, tmpl.Text, tmpl.Rules)
		if err != nil {
			return // reported with its own place
		}
		v, allVars := parsed.Calls("var")
		s, allServices := parsed.Calls("service")
		if !allVars || !allServices {
			return
		}
		vars = append(vars, v...)
		for _, text := range s {
			services = append(services, serviceName(text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Vars)) {
		l.unasked(where(body, "vars", t.Range), t, "var", name, vars)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Minimum)) {
		l.unasked(where(body, "minimum", t.Range), t, "service", name, services)
	}
}

func (l *loader) unasked(at hcl.Range, t Target, what, name string, asked []string) {
	if slices.Contains(asked, name) {
		return
	}
	advice := "its templates ask for " + strings.Join(slices.Sorted(slices.Values(asked)), ", ")
	if len(asked) == 0 {
		advice = "its templates ask for none"
	}
	if near := render.Nearest(name, asked); near != "" {
		advice = fmt.Sprintf("did you mean %q?", near)
	}
	l.fault(explain.ConfigUnknown, at, advice, "target %s %s: no template asks for %s %q", t.Kind, t.Name, what, name)
}

// serviceName is the name in [TAG.]NAME[?…][@…][~…][|…].
func serviceName(text string) string {
	if i := strings.IndexAny(text, "?@~|"); i >= 0 {
		text = text[:i]
	}
	return text[strings.LastIndexByte(text, '.')+1:]
}

func (l *loader) duration(r hcl.Range, name, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		l.errorf(r, `write it as "5s" or "250ms"`, "%s %q is no duration", name, text)
	}
	return d
}

// notName says whether s can't stand in file names and logs as one word.
func notName(s string) bool {
	return s == "" || strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) >= 0
}

// fromCty turns a value of the config into what templates work with.
func fromCty(v cty.Value) any {
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int(f)
		}
		return f
	case t.IsListType(), t.IsTupleType(), t.IsSetType():
		list := []any{}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			list = append(list, fromCty(e))
		}
		return list
	case t.IsMapType(), t.IsObjectType():
		m := map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			m[k.AsString()] = fromCty(e)
		}
		return m
	}
	return nil
}
