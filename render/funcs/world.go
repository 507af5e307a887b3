// Package funcs holds the functions of templates, a file per family.
//
// A function that reads something asks the World of the running execution. If
// the answer is not known yet, it yields its zero value and the World notes
// what is missing; the result of that execution is thrown away. So templates
// need no list of what they depend on.
package funcs

import (
	"io"
	"maps"
	"strings"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"

	"github.com/pgbaton/pgbaton/watcher"
)

// World is what one execution may see, and what it asked for. It is used by
// one execution at a time.
type World struct {
	Snapshot watcher.Snapshot
	Now      time.Time
	Env      func(string) (string, bool)
	Vars     map[string]any
	Minimum  func(service string) int // instances below which a service is not rendered; nil is none

	// Sandbox is the folder outside of which no file is read or written; "" is none. Relative
	// lets paths begin at the working directory.
	Sandbox  string
	Relative bool

	Plugin  func(name string, args []string) (string, error) // runs a program; nil runs none
	Execute func(name string, data any) (string, error)      // a template that this one defines
	Debug   io.Writer                                        // takes what is dumped; nil drops it

	Asked   map[watcher.Query]struct{}
	Waiting []Waiting
	Written []Written
	Scratch *Scratch
}

// Waiting is one reason why an execution is not complete.
type Waiting struct {
	Query watcher.Query
	Why   string    // for a person: "absent", "no leader yet"
	Since time.Time // zero if it was never looked at
	Err   error     // why the store can't tell; nil if it can
}

// Pending says whether the first answer is merely under way.
func (w Waiting) Pending() bool { return w.Err == nil && w.Why == notAnswered }

// notAnswered is why an execution waits for a store's first answer.
const notAnswered = "not answered yet"

func (w Waiting) String() string {
	s := w.Query.String() + ": " + w.Why
	if !w.Since.IsZero() {
		s += " since " + w.Since.Format(time.TimeOnly)
	}
	if w.Err != nil {
		s += " (" + w.Err.Error() + ")"
	}
	return s
}

// answer looks q up and notes it; ok is false if it is not known yet.
func (w *World) answer(q watcher.Query) (a watcher.Answer, ok bool) {
	w.Asked[q] = struct{}{}
	a = w.Snapshot[q]
	if a.Presence == watcher.Unknown {
		w.wait(q, notAnswered)
		return a, false
	}
	return a, true
}

// wait notes that the execution can't be complete because of q.
func (w *World) wait(q watcher.Query, why string) {
	a := w.Snapshot[q]
	w.Waiting = append(w.Waiting, Waiting{Query: q, Why: why, Since: a.Since, Err: a.Err})
}

// Map returns all functions, bound to *w: what w points to may be replaced
// between two executions.
//
// Sprig's functions have their own names, and once more with sprig_ before;
// where a name means another thing in consul-template, that meaning wins.
func Map(w *World) template.FuncMap {
	m := template.FuncMap{}
	for name, fn := range sprig.TxtFuncMap() {
		m[prefix+name] = fn
		if name != "slice" { // text/template's own, which takes text too
			m[name] = fn
		}
	}
	maps.Copy(m, own(w))
	for name := range m {
		if fn, ok := bounded[strings.TrimPrefix(name, prefix)]; ok {
			m[name] = fn
		}
	}
	return m
}

// own are the functions that are not sprig's.
func own(w *World) template.FuncMap {
	m := template.FuncMap{}
	for _, family := range []template.FuncMap{
		limits(), keys(w), catalog(w), clusters(w), local(w), variables(w),
		groups(), search(), text(), parsing(), encoding(), clock(w), arithmetic(), programs(w), debug(w), written(w),
	} {
		maps.Copy(m, family)
	}
	return m
}

// Aliases are the other names by which a function, or what does the same, can be
// called: who denies one means all. sprig_NAME goes by NAME too, and a NAME
// that is sprig's by sprig_NAME.
func Aliases(name string) []string {
	if plain, is := strings.CutPrefix(name, prefix); is {
		return []string{plain}
	}
	if _, ours := own(&World{})[name]; !ours && sprig.TxtFuncMap()[name] != nil {
		return []string{prefix + name}
	}
	return nil
}

// prefix begins the second name of sprig's functions.
const prefix = "sprig_"

// Names lists the functions, for "did you mean".
func Names() []string {
	names := make([]string, 0, 300)
	for name := range Map(&World{}) {
		names = append(names, name)
	}
	return names
}
