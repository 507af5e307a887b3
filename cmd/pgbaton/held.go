package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
)

// recipe is how a process without the config makes a target's daemon: settings
// hold paths of secrets, and no secrets.
func recipe(t config.Target) (target.Recipe, error) {
	settings, err := json.Marshal(t.Settings)
	if err != nil {
		return target.Recipe{}, fmt.Errorf("target %s %s: %w", t.Kind, t.Name, err)
	}
	return target.Recipe{Kind: t.Kind, Settings: settings}, nil
}

// holderOf makes the daemon that a recipe describes.
func holderOf(r target.Recipe, log hclog.Logger) (reload.Holder, error) {
	kind := kinds().Daemons[r.Kind]
	if kind == nil {
		return nil, fmt.Errorf("there is no kind of target named %q", r.Kind)
	}
	settings := kind()
	if err := json.Unmarshal(r.Settings, settings); err != nil {
		return nil, fmt.Errorf("read settings of %s: %w", r.Kind, err)
	}
	daemon, err := settings.Daemon(log)
	if err != nil {
		return nil, err
	}
	holder, can := reload.As[reload.Holder](daemon)
	if !can {
		return nil, fmt.Errorf("%s holds no traffic", r.Kind)
	}
	return holder, nil
}

// heldFiles lists the holds in the state folder: the daemon's, those by hand,
// and those that somebody began to release.
func heldFiles(folder state.Folder) ([]string, error) {
	var files []string
	var errs []error
	for _, prefix := range []string{target.HeldPrefix, target.ByHandPrefix, target.ReleasingPrefix} {
		ids, err := folder.Names(prefix)
		errs = append(errs, err)
		for _, id := range ids {
			files = append(files, prefix+id)
		}
	}
	return files, errors.Join(errs...)
}

// heldTarget is the target that a file of holds speaks of.
func heldTarget(file string) string {
	file = strings.TrimPrefix(file, target.ReleasingPrefix)
	return strings.TrimPrefix(strings.TrimPrefix(file, target.HeldPrefix), target.ByHandPrefix)
}

// loadHolds reads one of them.
func loadHolds(folder state.Folder, file string) (h target.Holds, found bool, err error) {
	if found, err = folder.Load(file, &h); err != nil {
		err = hint.Wrap(err, "resume what is paused by hand, then remove the file")
	}
	return h, found, err
}

// releaseFile releases what a file of the state folder says is held. It takes
// the file away first: a daemon that holds sees by that, and holds no more.
func releaseFile(ctx context.Context, folder state.Folder, file string, log hclog.Logger) (names []string, err error) {
	holds, found, err := loadHolds(folder, file)
	if err != nil || !found {
		return nil, err
	}
	holder, err := holderOf(holds.Recipe, log)
	if err != nil {
		return nil, explain.Mark(fmt.Errorf("release %s: %w", holds.Target, err), explain.StaysHeld)
	}
	if !strings.HasPrefix(file, target.ReleasingPrefix) {
		// Where the folder takes no change, releasing is still better than not.
		if err := folder.Rename(file, target.ReleasingPrefix+file); err == nil {
			file = target.ReleasingPrefix + file
		}
	}
	for _, h := range holds.Holds {
		names = append(names, h.Names...)
	}
	if err := holder.Release(ctx, names); err != nil {
		// Whoever looked after it has to find it again.
		if before, renamed := strings.CutPrefix(file, target.ReleasingPrefix); renamed {
			err = errors.Join(err, folder.Rename(file, before))
		}
		return nil, explain.Mark(hint.Wrap(fmt.Errorf("release %s: %w", holds.Target, err), "%s", hint.Of(err)), explain.StaysHeld)
	}
	return names, folder.Remove(file)
}

// until is when the last of the holds ends.
func until(h target.Holds) time.Time {
	var last time.Time
	for _, one := range h.Holds {
		if one.Until.After(last) {
			last = one.Until
		}
	}
	return last
}

// forgotten looks after what nobody else does: holds of targets that hold no longer, those
// by hand whose time has passed, and those that somebody began to release.
type forgotten struct {
	folder state.Folder
	specs  []target.Spec
	log    hclog.Logger
	seen   map[string]time.Time // by file: since when it is somebody's to release
	failed map[string]int       // by file: how often in a row
}

// How long whoever releases something has before the daemon does it for him, and how
// often it looks.
const (
	releaserLeft  = 10 * time.Second
	forgottenEach = 2 * time.Second
)

// run releases what is there already, and then what is left lying, until ctx ends.
func (f *forgotten) run(ctx context.Context) {
	f.seen, f.failed = map[string]time.Time{}, map[string]int{}
	for left := time.Duration(0); ; left = releaserLeft {
		f.look(ctx, left)
		select {
		case <-ctx.Done():
			return
		case <-time.After(forgottenEach):
		}
	}
}

// look releases what has been somebody else's to release for longer than left.
func (f *forgotten) look(ctx context.Context, left time.Duration) {
	files, err := heldFiles(f.folder)
	if err != nil && left == 0 {
		f.log.Error("what was held before is not known", "error", err)
	}
	there := map[string]bool{}
	for _, file := range files {
		if !f.due(file) {
			continue
		}
		there[file] = true
		if f.seen[file].IsZero() {
			f.seen[file] = time.Now()
		}
		if time.Since(f.seen[file]) >= left {
			f.release(ctx, file)
		}
	}
	maps.DeleteFunc(f.seen, func(file string, _ time.Time) bool { return !there[file] })
	maps.DeleteFunc(f.failed, func(file string, _ int) bool { return !there[file] })
}

// due says whether a hold should be over, and is nobody's who lives.
func (f *forgotten) due(file string) bool {
	switch {
	case strings.HasPrefix(file, target.ByHandPrefix):
		h, found, err := loadHolds(f.folder, file)
		return err == nil && found && time.Now().After(until(h))
	case strings.HasPrefix(file, target.HeldPrefix):
		id := heldTarget(file)
		if slices.ContainsFunc(f.specs, func(s target.Spec) bool { return s.Hold && s.ID() == id }) {
			return false // its loop takes it over
		}
		locked, err := f.folder.Locked(id)
		return err == nil && !locked // another pgbaton's, which lives
	}
	return true
}

func (f *forgotten) release(ctx context.Context, file string) {
	if id := heldTarget(file); strings.HasPrefix(file, target.HeldPrefix) {
		lock, err := f.folder.Lock(id)
		if err != nil {
			return
		}
		defer func() { _ = lock.Close() }()
	}
	names, err := releaseFile(ctx, f.folder, file, f.log)
	if err == nil {
		delete(f.failed, file)
		f.log.Warn("released what was held before", "names", strings.Join(names, ", "))
		return
	}
	if f.failed[file]++; bits.OnesCount(uint(f.failed[file])) == 1 { //nolint:gosec // it counts from one
		f.log.Error("what was held before stays held", "code", explain.StaysHeld, "error", err, "times", f.failed[file], "hint", hint.Of(err))
	}
}
