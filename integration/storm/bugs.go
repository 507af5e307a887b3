package storm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Bug is one that is planted to see whether a storm finds it.
type Bug struct {
	Name  string
	Edits []Edit
	Stirs []string // names of the actions that bring it to light; the others come too, less often
}

// Edit replaces a text that occurs once in a file of the module.
type Edit struct{ File, Old, New string }

// Bugs are planted one at a time: docs/reliability.md says which were found.
var Bugs = []Bug{
	{"no check is run", []Edit{{"internal/target/apply.go", "!l.proved(w.Hash) {", "false && !l.proved(w.Hash) {"}}, []string{"program's template is refused"}},
	{"a refusal is taken for a yes", []Edit{{"reload/command.go", "	if errors.Is(err, ErrRefused) && !c.keeps.Network {\n", "	if errors.Is(err, ErrRefused) {\n		err = nil\n	}\n	if errors.Is(err, ErrRefused) && !c.keeps.Network {\n"}}, []string{"program's template is refused"}},
	{"a rehearsal proves whatever comes", []Edit{{"internal/target/rehearse.go", "l.passed.good && hash == l.passed.hash", "l.passed.good"}}, []string{"switchover", "program's template is refused"}},
	{"pgbouncer is not told", []Edit{{"reload/pgbouncer/follow.go", `	if _, err := s.run(ctx, "RELOAD"); err != nil {
		return told, hint.Wrap(err, "pgbouncer's log says more")
	}
	told = time.Now()
	if err := s.follows(ctx, is); err != nil {
		return told, err
	}
`, ""}}, []string{"switchover"}},
	{"what is held is never released", []Edit{{"reload/pgbouncer/release.go", `err := p.resume(ctx, s, "RESUME "+quote(database))`, "var err error"}, {"reload/pgbouncer/release.go", `err := p.resume(ctx, s, "RESUME")`, "var err error"}}, []string{"switchover"}},
	{"a hold has no deadline", []Edit{{"internal/target/tend.go", "case now.After(h.Until):", "case false:"}, {"cmd/pgbaton/guard.go", "if overdue(holds, time.Since(begun), time.Now()) {", "if false && overdue(holds, time.Since(begun), time.Now()) {"}}, []string{"switchover is asked for, and called off"}},
	{"the guard does nothing", []Edit{{"cmd/pgbaton/guard.go", "if overdue(holds, time.Since(begun), time.Now()) {", "if false && overdue(holds, time.Since(begun), time.Now()) {"}}, []string{"pgbaton is killed while it holds"}},
	{"a leader is shown before it takes writes", []Edit{{"watcher/cluster/baton.go", "case e.Verdict == Writable, e.Verdict == ReadOnly && b.Seen.Standby:", "case e.Verdict != Unclear:"}}, []string{"switchover"}},
	{"a failed start is recorded as followed", []Edit{{"internal/target/apply.go", "	begun := time.Now()\n	mark, err := l.spec.Daemon.Follow(", "	l.record.Followed = w.Hash\n	_ = l.records.Save(l.record)\n	begun := time.Now()\n	mark, err := l.spec.Daemon.Follow("}}, []string{"program does not load", "pgbaton is killed"}},
	{"a failed reload is not tried again", []Edit{{"internal/target/decide.go", "if at := t.next(); now.Before(at) {", "if at := (time.Time{}); true {"}}, []string{"program does not load"}},
	{"other hands are not seen", []Edit{{"internal/target/drift.go", "if maps.Equal(seen, l.drifted.seen) {", "if true || maps.Equal(seen, l.drifted.seen) {"}}, []string{"hands in between"}},
	{"a mode that others changed is left", []Edit{{"render/stage.go", "case have.Mode != s.Mode:", "case false:"}}, []string{"hands in between"}},
	{"a file that is gone is no change", []Edit{{"render/stage.go", "		if what != \"\" {\n", "		if what != \"\" && what != driftGone {\n"}}, []string{"hands in between"}},
	{"a freeze is not heeded", []Edit{{"internal/target/decide.go", "if w.Unsure || w.Frozen {", "if w.Unsure {"}}, []string{"program's target is frozen"}},
	{"a store that was away is not asked again", []Edit{{"watcher/loop.go", "if pause(ctx, backoff(failures)) != nil {", "if failures > 0 {"}}, []string{"consul is back, empty for a moment"}},
	{"a template is read once", []Edit{{"internal/target/source.go", "	if version == p.version {\n", "	if p.version != 0 {\n"}}, []string{"program's template is edited"}},
	{"contents are told apart by their length", []Edit{{"render/file.go", "		_, _ = h.Write(f.Content)\n", ""}}, []string{"program's template is edited"}},
	{"files are wider than asked", []Edit{{"render/stage.go", "f.Chmod(s.Mode)", "f.Chmod(s.Mode | 0o044)"}}, nil},
	{"files are written in place", []Edit{{"render/commit.go", "d.Rename(s.Temp, s.Real)", "os.WriteFile(s.Real, s.Content, s.Mode), d.Remove(s.Temp)"}, {"render/stage.go", "	if _, err := f.Write(s.Content); err != nil {\n		return err\n	}\n", ""}}, []string{"disk is full", "program's template is edited"}},
	{"of several files the first is swapped in", []Edit{{"render/commit.go", "		f.Temp = \"\"\n	}\n	return nil\n", "		f.Temp = \"\"\n		break\n	}\n	return nil\n"}}, []string{"switchover"}},
	{"what hangs on the old leader is not cut", []Edit{{"internal/target/apply.go", "if !can || len(left) == 0 {", "if !can || len(left) >= 0 {"}}, []string{"leader hangs for good"}},
	{"what an operator paused is resumed", []Edit{{"reload/pgbouncer/traffic.go", "		case !paused:\n", "		case !paused, !p.held[name]:\n"}}, []string{"operator pauses another database", "switchover"}},
	{"a broken config ends it", []Edit{{"cmd/pgbaton/daemon.go", "		d.log.Error(\"config refused, the old one stays\", \"code\", explain.ConfigRefused, \"problems\", len(problems))\n		return\n", "		panic(\"config refused\")\n"}}, []string{"pgbaton reads its config again"}},
	{"a candidate is asked once", []Edit{{"internal/probe/confirm.go", "					err = wait(ctx, pause)\n", "					<-ctx.Done()\n"}}, []string{"switchover"}},
	{"an older leader is shown again", []Edit{{"internal/target/source.go", "	w.Files, w.Hash, w.Changed = files, hash, now\n", "	if len(older) > 0 && moved && len(leaders) > 0 && now.Nanosecond()%3 == 0 {\n		files, hash = older, render.Hash(older)\n	}\n	older = w.Files\n	w.Files, w.Hash, w.Changed = files, hash, now\n"}, {"internal/target/source.go", "const maxPasses = 100\n", "const maxPasses = 100\n\nvar older []render.File\n"}}, []string{"switchover"}},
}

// Overlay writes the edited files into dir, for go build's -overlay, and returns
// what they replace. A text that does not occur exactly once is an error: the code
// has moved on, and the bug has to follow.
func Overlay(root, dir string, edits []Edit) (replace map[string]string, err error) {
	texts := map[string]string{}
	for _, e := range edits {
		path := filepath.Join(root, filepath.FromSlash(e.File))
		if _, read := texts[path]; !read {
			content, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("plant a bug: %w", err)
			}
			texts[path] = string(content)
		}
		if n := strings.Count(texts[path], e.Old); n != 1 {
			return nil, fmt.Errorf("plant a bug: the text to replace is %d times in %s:\n%s", n, e.File, e.Old)
		}
		texts[path] = strings.Replace(texts[path], e.Old, e.New, 1)
	}
	replace = map[string]string{}
	for path, text := range texts {
		to := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("plant a bug: %w", err)
		}
		replace[path] = to
	}
	return replace, nil
}
