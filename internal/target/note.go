package target

import (
	"maps"
	"slices"
	"time"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
)

// note tells whoever wants to know what was done.
func (s Spec) note(e history.Event) {
	if s.Note != nil {
		s.Note(e)
	}
}

// note tells what an action came to. What was superseded, or did nothing, is nothing
// that was done.
func (l *Loop) note(out outcome, superseded bool) {
	if l.spec.Note == nil || out.idle || out.err != nil && superseded {
		return
	}
	at, w := out.followed, out.wanted
	if at.IsZero() {
		at = time.Now()
	}
	a := history.Attempt{
		Target: l.spec.ID(), At: at, Hash: out.hash, Seen: w.First, Signs: signs(l.record.Led, w),
		Render: w.Render, Check: out.check, Reload: out.commit + out.follow,
	}
	if a.Seen.IsZero() {
		a.Seen = at.Add(-out.check - out.commit - out.follow) // nothing changed but the disk
	}
	if told := out.mark.Told; !told.IsZero() {
		a.Verify = at.Sub(told)
		a.Reload -= a.Verify
	}
	a.Why = l.why(w, a.Signs)
	if out.err != nil {
		l.spec.note(history.Failed{Attempt: a, Error: out.err, Committed: out.committed})
		return
	}
	l.spec.note(history.Applied{Attempt: a, Proof: out.mark.Proof.String(), How: out.mark.How, Cut: out.cut, Files: out.changed})
}

// why is the reason of an action, as the history has it.
func (l *Loop) why(w Wanted, signs []history.Sign) string {
	moved := slices.ContainsFunc(signs, func(s history.Sign) bool { return s.From != "" })
	switch {
	case w.Forced:
		return history.Forced
	case moved:
		return history.Leader
	case l.drifted.repairing:
		return history.Repair
	case l.State().Synced.IsZero():
		return history.Start
	}
	return history.Content
}

// signs are the leaders that files show and that are others than before.
func signs(before map[string]Led, w Wanted) (list []history.Sign) {
	for _, name := range slices.Sorted(maps.Keys(w.Led)) {
		was, is := before[name], w.Led[name]
		if is.Leader == "" || is.Leader == was.Leader && is.Host == was.Host && is.Port == was.Port {
			continue
		}
		b := w.Batons[name]
		list = append(list, history.Sign{
			Move: history.Move{
				Cluster: name, From: was.Leader, To: is.Leader, Timeline: is.Timeline,
				Address: reload.Address{Host: is.Host, Port: is.Port}.String(),
			},
			Stirred: b.Stirred, Named: b.Named, Confirmed: b.Reigns,
		})
	}
	return list
}

// compares are the files of a set that are about to be swapped in, and what they
// replace, for whoever wants to know; else none.
func (l *Loop) compares(set *render.Set) (files []history.File) {
	if l.spec.Note == nil {
		return nil
	}
	for _, s := range set.Files {
		if s.Temp == "" {
			continue
		}
		f := history.File{Path: s.Path, Mode: s.Mode, Large: len(s.Content) > history.LargeFile}
		if !f.Large {
			before, large, err := s.Before(history.LargeFile)
			f.Before, f.Large = before, large || err != nil
		}
		if !f.Large {
			f.After = s.Content
		}
		files = append(files, f)
	}
	return files
}
