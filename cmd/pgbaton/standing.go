package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/internal/baton"
	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/internal/web"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/watcher"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// standing is what the daemon lets others see: how the config that runs stands, whoever
// asks, and whenever. All its methods may be called at once.
type standing struct {
	mu      sync.Mutex
	process status.Process
	running *assembly
	loops   []*target.Loop // of running's specs, in their order
	kept    *status.Status // what counts while one config makes room for the next; else nil
	journal *history.Journal
	recent  *recent
}

func newStanding(from sources, journal *history.Journal, recent *recent) *standing {
	s := &standing{journal: journal, recent: recent, process: status.Process{
		Version: versionText(), PID: os.Getpid(), User: control.UserName(os.Geteuid()), Started: time.Now().UTC(),
	}}
	for _, path := range from.paths {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		s.process.Config = append(s.process.Config, path)
	}
	for _, e := range from.extra {
		s.process.Config = append(s.process.Config, e.Name)
	}
	return s
}

// take is told of a config that has begun to run.
func (s *standing) take(a *assembly, loops []*target.Loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.loops, s.kept = a, loops, nil
	s.process.Loaded, s.process.StateDir, s.process.Refused = time.Now().UTC(), a.config.StateDir, nil
}

// keep is told that the config ends, to make room for another.
func (s *standing) keep() {
	kept := s.Status()
	kept.Process.Reloading = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = &kept
}

// refuse is told of a config that was not taken up, and why, in words that quote
// nothing of it.
func (s *standing) refuse(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.Refused = &status.Refused{At: time.Now().UTC(), Text: why}
}

// loop finds a target that runs, and the folder of its records.
func (s *standing) loop(id string) (*target.Loop, state.Folder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, spec := range s.running.specs {
		if spec.ID() == id {
			return s.loops[i], state.Folder{Dir: s.running.config.StateDir}, nil
		}
	}
	return nil, state.Folder{}, control.Because(control.ErrNoTarget, "there is no target "+status.OneLine(id))
}

// Status is how all stands now.
func (s *standing) Status() status.Status {
	s.mu.Lock()
	process, a, loops, kept := s.process, s.running, s.loops, s.kept
	s.mu.Unlock()
	if kept != nil {
		return *kept
	}
	byHand := heldByHand(state.Folder{Dir: a.config.StateDir})
	var targets []status.Target
	for i, spec := range a.specs {
		targets = append(targets, targetStatus(spec, loops[i].State(), byHand[spec.ID()]))
	}
	var clusters []status.Cluster
	for _, c := range a.tracker.Standings() {
		clusters = append(clusters, clusterStatus(c))
	}
	health := a.watcher.Health()
	var stores []status.Store
	for i, s := range a.config.Stores {
		stores = append(stores, storeStatus(s.Name, health[storeName(a.config, i)]))
	}
	stores = append(stores, storeStatus("local", health[watcher.Local]))
	for i := range targets {
		hideIn(a.secrets.Hide, targets[i].Error, targets[i].Waiting)
	}
	for i := range clusters {
		hideStale(a.secrets.Hide, clusters[i].Stale)
		for j := range clusters[i].Problems {
			hide(a.secrets.Hide, &clusters[i].Problems[j].Words)
		}
	}
	for i := range stores {
		hideStale(a.secrets.Hide, stores[i].Stale)
	}
	return status.Of(time.Now(), process, targets, clusters, stores)
}

// History is what was done, the newest first.
func (s *standing) History() []history.Change {
	list, _ := s.journal.Changes()
	return list
}

// pages are what the status listener shows beside the status. diffs is whether everybody
// sees what changed in files that not everybody may read.
func (s *standing) pages(diffs bool) []status.Page {
	return web.Pages(web.Source{Status: s.Status, Changes: s.journal.Changes, Diffs: diffs})
}

// Log is the last of the log.
func (s *standing) Log() string { return s.recent.String() }

// hide replaces what is secret in texts that quote others.
func hide(with func(string) string, texts ...*string) {
	for _, t := range texts {
		*t = with(*t)
	}
}

func hideIn(with func(string) string, e *status.Error, waits []status.Wait) {
	if e != nil {
		hide(with, &e.Text, &e.Words, &e.Hint)
	}
	for i := range waits {
		hide(with, &waits[i].For, &waits[i].Words)
	}
}

func hideStale(with func(string) string, s *status.Stale) {
	if s != nil {
		hide(with, &s.Words)
	}
}

// heldByHand is what operators hold, by target. What can't be read is not known.
func heldByHand(folder state.Folder) map[string][]target.Hold {
	ids, _ := folder.Names(target.ByHandPrefix)
	all := map[string][]target.Hold{}
	for _, id := range ids {
		if h, found, err := loadHolds(folder, target.ByHandPrefix+id); found && err == nil {
			all[id] = h.Holds
		}
	}
	return all
}

func targetStatus(spec target.Spec, s target.State, byHand []target.Hold) status.Target {
	t := status.Target{
		ID: s.ID, Kind: spec.Kind, Name: spec.Name,
		State: string(s.Standing()), Since: s.Since.UTC(), InSync: s.InSync, Applied: s.Synced.UTC(),
		Leaders: leaders(s.Shows), Follows: leaders(s.Led),
		Wanted: s.Wanted, Committed: s.Committed, Followed: s.Followed,
		Error: targetError(s), Drift: s.Drift,
	}
	if s.Followed != "" {
		t.Proof, t.How = s.Mark.Proof.String(), s.Mark.How
	}
	for _, tmpl := range spec.Templates {
		t.Files = append(t.Files, tmpl.Destination.Path)
	}
	for _, w := range s.Waits {
		wait := status.Wait{For: w.Query.String() + ": " + w.Why, Since: w.Since.UTC()}
		if w.Err != nil {
			wait.Words = w.Err.Error()
		}
		t.Waiting = append(t.Waiting, wait)
	}
	if f := s.Freeze; f != nil {
		t.Frozen = &status.Freeze{By: f.By, Since: f.Since.UTC(), Until: f.Until.UTC(), Reason: f.Reason}
	}
	for _, h := range s.Holds {
		t.Held = append(t.Held, hold(h, false))
	}
	for _, h := range byHand {
		t.Held = append(t.Held, hold(h, true))
	}
	return t
}

func hold(h target.Hold, byHand bool) status.Hold {
	return status.Hold{Cluster: h.Cluster, Names: h.Names, Since: h.Began.UTC(), Until: h.Until.UTC(), ByHand: byHand}
}

// leaders are those that are known, in order of their clusters.
func leaders(led map[string]target.Led) []status.Leader {
	var list []status.Leader
	for name, l := range led {
		if l.Leader != "" {
			list = append(list, status.Leader{Cluster: name, Name: l.Leader, Host: l.Host, Port: l.Port, Timeline: l.Timeline})
		}
	}
	slices.SortFunc(list, func(a, b status.Leader) int { return strings.Compare(a.Cluster, b.Cluster) })
	return list
}

// targetError is a target's trouble. What quotes others is in Words alone.
func targetError(s target.State) *status.Error {
	if s.Err == nil {
		return nil
	}
	e := &status.Error{Code: explain.Of(s.Err), Kind: failure(s.Err, s.Committed == s.Wanted), Hint: hint.Of(s.Err), Failures: s.Failures, Again: s.Again.UTC()}
	switch {
	case e.Kind == status.KindGuard:
	case s.Drifted, len(s.Drift) > 0:
		e.Kind = status.KindDrift
	case s.Barred:
		e.Kind = status.KindLocked
	}
	if e.Text = status.Told(e.Kind); e.Text != "" {
		e.Words = s.Err.Error()
	} else {
		e.Text = s.Err.Error()
	}
	return e
}

// failure is the kind of what went wrong with a target, whose files are on disk or not.
func failure(err error, committed bool) (kind string) {
	var template *render.Error
	switch {
	case errors.Is(err, target.ErrGuarded):
		return status.KindGuard
	case errors.As(err, &template):
		return status.KindTemplate
	case errors.Is(err, reload.ErrRefused):
		return status.KindCheck
	case committed:
		return status.KindReload
	}
	return status.KindApply
}

// far is how many bytes behind a replica is far behind if no probe tells: from here on
// Patroni, by its own default (maximum_lag_on_failover), lets it not take over.
const far = 1 << 20

func clusterStatus(s baton.Standing) status.Cluster {
	b := s.Baton
	c := status.Cluster{
		Name: s.Name, Scope: s.Source.Scope(), Phase: "unknown", Created: b.Term.Created, Timeline: b.Term.Timeline, System: b.Term.System,
	}
	if s.Err != nil {
		c.Stale = &status.Stale{Code: explain.StoreStale, Since: s.Fresh.UTC(), Never: s.Fresh.IsZero(), Words: s.Err.Error()}
	}
	if !s.Known {
		return c
	}
	c.Phase, c.Since, c.Reigns, c.Key = string(b.Phase), b.Since.UTC(), b.Reigns.UTC(), b.Seen.Key.Name
	c.Paused, c.Standby, c.Fenced = b.Seen.Paused, b.Seen.Standby, b.Seen.Fenced
	if m := b.Confirmed; m != nil {
		c.Leader = &status.Leader{Cluster: s.Name, Name: m.Name, Host: m.Host, Port: m.Port, Timeline: b.Term.Timeline}
		c.By = string(b.By)
	}
	view := b.View()
	if c.Leader != nil {
		c.Probes = probes(b.Health[c.Leader.Name].Checks)
	}
	for _, m := range view.Members {
		if b.Confirmed == nil || m.Name != b.Confirmed.Name {
			c.Replicas = append(c.Replicas, replica(m, view))
		}
	}
	for _, a := range []status.Alarm{
		{Kind: status.AlarmTwoWriters, Code: explain.TwoWriters, Since: b.Alarmed.UTC(), Text: b.Alarm},
		{Kind: status.AlarmRefused, Code: explain.LeaderRefused, Since: b.Doubted.UTC(), Text: b.Refused},
	} {
		if a.Text != "" {
			c.Alarms = append(c.Alarms, a)
		}
	}
	for _, p := range b.Seen.Problems {
		key, words, _ := strings.Cut(p, ": ")
		c.Problems = append(c.Problems, status.Problem{Key: key, Words: words})
	}
	return c
}

func replica(m cluster.Member, of cluster.Cluster) status.Replica {
	r := status.Replica{
		Name: m.Name, Host: m.Host, Port: m.Port, Role: m.Role, State: m.State, Sync: m.Sync, Timeline: m.Timeline, Lag: status.LagUnknown,
		Serves: slices.ContainsFunc(of.Replicas, func(o cluster.Member) bool { return o.Name == m.Name }),
	}
	if m.LagKnown {
		lag := m.Lag
		r.Lag, r.LagBytes = status.LagNear, &lag
		if lag > far {
			r.Lag = status.LagFar
		}
	}
	if m.DelayKnown {
		delay := m.Delay.Seconds()
		r.Delay = &delay
	}
	for _, c := range m.Checks {
		if c.Kind == cluster.ProbeLag && c.Limited() && !c.Since.IsZero() {
			r.Lag = status.LagNear
			if !c.Healthy {
				r.Lag = status.LagFar
			}
		}
	}
	r.Fit, r.Probes = m.Healthy, probes(m.Checks)
	return r
}

func probes(checks []cluster.Check) (all []status.Probe) {
	for _, c := range checks {
		all = append(all, status.Probe{Name: c.Name, Fit: c.Healthy, Since: c.Since.UTC(), Words: c.Why})
	}
	return all
}

func storeStatus(name string, h watcher.Health) status.Store {
	s := status.Store{
		Name: name, State: status.StoreAnswers, Watches: h.Watches, Failing: h.Failing, Asked: h.Asked, Confirmed: h.Confirmed.UTC(),
	}
	switch {
	case h.Watches == 0:
		s.State = status.StoreUnused
	case h.Err != nil:
		s.State = status.StoreStale
		s.Stale = &status.Stale{Code: explain.StoreStale, Since: h.Stale.UTC(), Never: h.Never, Query: h.Query.String(), Words: h.Err.Error()}
	case h.Asked == h.Watches:
		s.State = status.StoreAsked
	}
	s.Reachable = s.State == status.StoreAnswers || s.State == status.StoreUnused
	return s
}

// groupOf is the group that may use the control socket; nil is none.
func groupOf(s config.Status) (*control.Group, error) {
	id, err := render.GroupID(s.Group)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("status: %w", err), "create it, or correct group in the status block")
	}
	if id == nil {
		return nil, nil
	}
	return &control.Group{ID: *id, Name: s.Group}, nil
}
