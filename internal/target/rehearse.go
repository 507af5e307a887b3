package target

import (
	"context"
	"maps"
	"time"

	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// rehearsed is how long a rehearsal counts: what a check looks at beside the
// files may change.
const rehearsed = 30 * time.Second

// Presumed are the files as they will be wanted if the candidates of clusters
// that are about to change their leader are confirmed; ok is false if there are
// none. A check takes longer than all that follows it, and a server that is
// about to leave recovery leaves the time for one.
func (s *Source) Presumed(ctx context.Context, now time.Time) (w Wanted, ok bool) {
	snap := s.sub.Snapshot()
	presumed := maps.Clone(snap)
	for q, a := range snap {
		b, is := a.Value.(cluster.Baton)
		if !is {
			continue
		}
		if next, changes := b.Presumed(); changes {
			a.Value, ok = next, true
			presumed[q] = a
		}
	}
	if !ok {
		return Wanted{}, false
	}
	files := make([]render.File, 0, len(s.parts))
	for _, p := range s.parts {
		content, complete := p.presume(ctx, s.spec, snap, presumed, now)
		if !complete {
			return Wanted{}, false
		}
		files = append(files, render.File{Destination: p.tmpl.Destination, Content: content})
	}
	return Wanted{Files: files, Hash: render.Hash(files)}, true
}

// presume is what the part comes to with other answers, which it keeps no memory
// of.
func (p *part) presume(ctx context.Context, spec Spec, snap, presumed watcher.Snapshot, now time.Time) (content []byte, complete bool) {
	if p.parsed == nil || p.broken != nil || !p.done {
		return nil, false
	}
	changes := false
	for q := range p.seen {
		if _, is := snap[q].Value.(cluster.Baton); is {
			changes = true
		}
	}
	if !changes {
		return p.content, true
	}
	result := p.parsed.Execute(ctx, spec.input(ctx, presumed, now))
	return result.Content, result.Complete() && result.Err == nil
}

// rehearse begins a rehearsal if there is something to rehearse.
func (l *Loop) rehearse(ctx context.Context, now time.Time) *action {
	w, ok := l.source.Presumed(ctx, now)
	if !ok || w.Hash == l.passed.hash {
		return nil
	}
	return l.begin(ctx, Rehearse, w)
}

// passed is what the last rehearsal came to.
type passed struct {
	hash string
	at   time.Time
	good bool
}

// proved says whether a rehearsal has just proved the files valid.
func (l *Loop) proved(hash string) bool {
	return l.passed.good && hash == l.passed.hash && time.Since(l.passed.at) < rehearsed
}
