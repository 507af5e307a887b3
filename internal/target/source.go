package target

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/render/funcs"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// maxPasses is how often in a row a template may ask for something new before
// it counts as one that will never be complete.
const maxPasses = 100

// Wanted is what a target should be.
type Wanted struct {
	Files   []render.File     // the last complete ones; nil if there were none yet
	Hash    string            // of Files; "" if there were none yet
	Leaders map[string]string // by cluster: the confirmed leader that Files show
	Led     map[string]Led    // the same, with what else is worth to know of them
	Changed time.Time         // when Hash became what it is
	First   time.Time         // when the first change since the last rest came
	Urgent  bool              // a leader changed: nothing waits
	Render  time.Duration     // how long the templates of Files took

	// Unsure says that clients are held, and that Files show no leader that is new
	// and certain. Nothing is worth an action then: a reload would disturb those who
	// wait, and show the daemon a leader that they are kept from.
	Unsure bool

	Frozen bool // an operator keeps everything as it is
	Forced bool // an operator wants it applied whatever a guard says

	Batons  map[string]cluster.Baton // by cluster: how leadership stands now, whatever Files show
	Waiting []funcs.Waiting          // what keeps newer files from being complete
	Err     error                    // why newer files can't be made
}

// WaitingFor says for a person what keeps newer files from being complete; ""
// if nothing does.
func (w Wanted) WaitingFor() string {
	reasons := make([]string, len(w.Waiting))
	for i, r := range w.Waiting {
		reasons[i] = r.String()
	}
	return strings.Join(reasons, "; ")
}

// Source makes a target's Wanted.
type Source struct {
	spec   Spec
	sub    *watcher.Subscription
	parts  []*part
	also   map[watcher.Query]struct{} // what is watched beside what the templates look at
	wanted Wanted
	tried  string // hash that was tried in vain
}

// part is one template on its way.
type part struct {
	tmpl    Template
	parsed  *render.Template
	version uint64 // the change number of the parsed source; 0 is none yet
	broken  error  // why the newest source is not the parsed one

	asked   map[watcher.Query]struct{}
	seen    map[watcher.Query]uint64 // change numbers at the last execution
	passes  int
	content []byte // of the last complete execution
	beside  []render.File
	done    bool // there was one
	result  render.Result
	took    time.Duration // of the last execution
}

// NewSource makes a source that reads from sub, which it closes at the end.
func NewSource(spec Spec, sub *watcher.Subscription) *Source {
	s := &Source{spec: spec, sub: sub}
	for _, t := range spec.Templates {
		s.parts = append(s.parts, &part{tmpl: t, asked: map[watcher.Query]struct{}{}})
	}
	return s
}

// Changed is a level trigger: Update may have something new.
func (s *Source) Changed() <-chan struct{} { return s.sub.Changed() }

// Close lets go of everything that the source watches.
func (s *Source) Close() { s.sub.Close() }

// Asked lists everything that the source's templates look at.
func (s *Source) Asked() map[watcher.Query]struct{} {
	all := maps.Clone(s.also)
	if all == nil {
		all = map[watcher.Query]struct{}{}
	}
	for _, p := range s.parts {
		maps.Copy(all, p.asked)
		if p.tmpl.Source != "" {
			all[p.file()] = struct{}{}
		}
	}
	return all
}

// Watch watches something beside what the templates look at, in the place of what
// it was before.
func (s *Source) Watch(also map[watcher.Query]struct{}) watcher.Snapshot {
	if maps.Equal(also, s.also) {
		return s.sub.Snapshot()
	}
	s.also = also
	return s.sub.Want(s.Asked())
}

// Update executes what is affected by changes and returns what is wanted now.
func (s *Source) Update(ctx context.Context, now time.Time) Wanted {
	snap := s.sub.Want(s.Asked())
	for {
		asked := 0
		for _, p := range s.parts {
			p.parse(snap)
			asked += p.run(ctx, s.spec, snap, now)
		}
		if asked == 0 {
			break
		}
		// Somebody else may watch them already, so that they are known at once.
		snap = s.sub.Want(s.Asked())
	}
	s.collect(snap, now)
	return s.wanted
}

func (p *part) file() watcher.Query {
	return watcher.Query{Store: watcher.Local, Kind: watcher.File, Path: p.tmpl.Source}
}

// parse parses the template's newest text, once. A broken one leaves the last
// good one in use.
func (p *part) parse(snap watcher.Snapshot) {
	text, version := p.tmpl.Text, uint64(1)
	if p.tmpl.Source != "" {
		a := snap[p.file()]
		version = a.Change
		text, _ = a.Value.(string)
		switch {
		case a.Presence == watcher.Absent:
			p.broken = hint.Wrap(fmt.Errorf("template %s does not exist", p.tmpl.Source), "correct source, or create the file")
			return
		case a.Presence == watcher.Unknown && a.Err != nil:
			p.broken = fmt.Errorf("template %s: %w", p.tmpl.Source, a.Err)
			return
		case a.Presence == watcher.Unknown:
			return
		}
	}
	if version == p.version {
		return
	}
	p.version = version
	parsed, err := render.Parse(p.tmpl.Name, text, p.tmpl.Rules)
	p.broken = err
	if err == nil {
		p.parsed, p.seen = parsed, nil
	}
}

// run executes the template if anything that it looked at changed. It returns
// how many new things it asked for.
func (p *part) run(ctx context.Context, spec Spec, snap watcher.Snapshot, now time.Time) (asked int) {
	if p.parsed == nil || !p.affected(snap) {
		return 0
	}
	begun := time.Now()
	p.result = p.parsed.Execute(ctx, spec.input(ctx, snap, now))
	p.took = time.Since(begun)
	p.seen = make(map[watcher.Query]uint64, len(p.result.Asked))
	for q := range p.result.Asked {
		p.seen[q] = snap[q].Change
		if _, known := snap[q]; !known {
			asked++
		}
	}
	switch {
	case p.result.Complete():
		// What it no longer asks for is let go.
		p.asked, p.passes = p.result.Asked, 0
		var beside []render.File
		if p.result.Err == nil {
			beside, p.result.Err = p.result.Beside()
		}
		if p.result.Err == nil {
			p.content, p.beside, p.done = p.result.Content, beside, true
		}
	case asked > 0:
		if p.passes++; p.passes > maxPasses {
			p.result.Waiting = nil
			p.result.Err = hint.Wrap(fmt.Errorf("%s: asked for something new %d times in a row", p.tmpl.Name, maxPasses),
				"a name that is looked up must not depend on the time or on chance")
			return 0
		}
		maps.Copy(p.asked, p.result.Asked)
	default:
		p.passes = 0 // it waits for what it asked for before
	}
	return asked
}

func (s Spec) input(ctx context.Context, snap watcher.Snapshot, now time.Time) render.Input {
	return render.Input{
		Snapshot: snap, Now: now, Env: s.lookupEnv, Vars: s.Vars, Minimum: s.Minimum, Debug: os.Stderr,
		Plugin: func(name string, args []string) (string, error) { return plugin(ctx, name, args) },
	}
}

// lookupEnv looks for a variable of the environment.
func (s Spec) lookupEnv(name string) (string, bool) {
	for _, entry := range s.Env {
		if value, is := strings.CutPrefix(entry, name+"="); is {
			return value, true
		}
	}
	return os.LookupEnv(name)
}

// plugin runs a program for a template, which gets what it prints, and waits for
// it: a template has no longer altogether.
func plugin(ctx context.Context, name string, args []string) (string, error) {
	var out render.Capped
	_, err := proc.Run(ctx, proc.Command{Args: append([]string{name}, args...), Stdout: &out, Timeout: render.MaxTime})
	return out.String(), err
}

func (p *part) affected(snap watcher.Snapshot) bool {
	if p.seen == nil {
		return true
	}
	for q, change := range p.seen {
		if snap[q].Change != change {
			return true
		}
	}
	return false
}

// collect puts the parts together. Files are a set: all of them or none.
func (s *Source) collect(snap watcher.Snapshot, now time.Time) {
	w := &s.wanted
	w.Waiting, w.Err = nil, nil
	w.Batons = batons(snap)
	complete := true
	files := make([]render.File, 0, len(s.parts))
	for _, p := range s.parts {
		switch {
		case p.broken != nil:
			w.Err = p.broken
		case p.parsed == nil:
			w.Waiting = append(w.Waiting, funcs.Waiting{Query: p.file(), Why: "not read yet"})
		case !p.result.Complete():
			w.Waiting = append(w.Waiting, current(p.result.Waiting, snap)...)
			complete = false
		case p.result.Err != nil:
			w.Err = p.result.Err
			complete = false
		}
		complete = complete && p.done
		files = append(files, render.File{Destination: p.tmpl.Destination, Content: p.content})
	}
	if !complete {
		return
	}
	files, err := s.beside(files)
	if err != nil {
		w.Err = err
		return
	}
	hash, leaders := render.Hash(files), map[string]string{}
	w.Led = map[string]Led{}
	for name, b := range w.Batons {
		leaders[name], w.Led[name] = b.Term.Leader, led(b)
	}
	moved := !maps.Equal(leaders, w.Leaders)
	w.Leaders = leaders
	if hash == w.Hash {
		return
	}
	w.Urgent = w.Urgent || moved
	if w.First.IsZero() || s.tried == w.Hash {
		w.First = now // what failed is another change
	}
	w.Files, w.Hash, w.Changed = files, hash, now
	w.Render = 0
	for _, p := range s.parts {
		w.Render += p.took
	}
}

// beside adds what the templates wrote beside their own files. No two may write
// the same one.
func (s *Source) beside(files []render.File) ([]render.File, error) {
	paths := map[string]bool{}
	for _, f := range files {
		paths[f.Path] = true
	}
	for _, p := range s.parts {
		for _, f := range p.beside {
			if paths[f.Path] {
				return nil, fmt.Errorf("%s: writeToFile %s: the target writes that file already", p.tmpl.Name, f.Path)
			}
			paths[f.Path] = true
			files = append(files, f)
		}
	}
	return files, nil
}

// Rested says that hash was applied: if it is still what is wanted, the next
// change begins anew.
func (s *Source) Rested(hash string) {
	if s.wanted.Hash == hash {
		s.wanted.First, s.wanted.Urgent = time.Time{}, false
	}
}

// Tried says that hash was tried in vain: if something else is wanted, that is a change
// of its own.
func (s *Source) Tried(hash string) { s.tried = hash }

// Led is a leader that files were made for.
type Led struct {
	Leader   string `json:"leader"` // "" if there was none
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Created  uint64 `json:"created"` // of its leader key
	Timeline uint64 `json:"timeline"`
}

func led(b cluster.Baton) Led {
	l := Led{Leader: b.Term.Leader, Created: b.Term.Created, Timeline: b.Term.Timeline}
	if b.Confirmed != nil {
		l.Host, l.Port = b.Confirmed.Host, b.Confirmed.Port
	}
	return l
}

// batons are those of the clusters that the templates use.
func batons(snap watcher.Snapshot) map[string]cluster.Baton {
	out := map[string]cluster.Baton{}
	for q, a := range snap {
		if b, ok := a.Value.(cluster.Baton); ok {
			out[q.Path] = b
		}
	}
	return out
}

// current brings the reasons of an earlier execution up to date: a store may
// have gone away since.
func current(list []funcs.Waiting, snap watcher.Snapshot) []funcs.Waiting {
	out := make([]funcs.Waiting, len(list))
	for i, w := range list {
		w.Err = snap[w.Query].Err
		out[i] = w
	}
	return out
}
