package pgpool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// How pgpool is looked at.
const (
	look    = 30 * time.Millisecond
	lag     = 5 * time.Second         // it may take a second for each move, in which pcp is started anew
	settles = 1200 * time.Millisecond // after what was attached it looks for the primary
	rounds  = 8                       // of telling and looking
	astray  = 10 * time.Minute        // before what led pgpool astray is attached again
)

// Follow reloads pgpool, moves its backends, and looks whether it follows.
func (d *daemon) Follow(ctx context.Context, want []reload.File, _ reload.Mark) (reload.Mark, error) {
	s, err := read(want)
	if err != nil {
		return reload.Mark{}, err
	}
	f := &follower{daemon: d, settings: s}
	if err := f.follow(ctx); err != nil {
		return reload.Mark{}, err
	}
	return reload.Mark{Proof: reload.Followed, How: f.how(), Told: f.told}, nil
}

// follower is one Follow.
type follower struct {
	*daemon
	*settings
	did  []string
	told time.Time
	all  bool // standbys were attached, with the right primary before
}

func (f *follower) how() string {
	return strings.Join(f.did, ", ") + " over pcp at " + f.pcp.String()
}

func (f *follower) follow(ctx context.Context) error {
	promoted, err := f.promoteAtOnce(ctx)
	if err != nil {
		return err
	}
	nodes, err := f.look(ctx, promoted)
	if err != nil {
		return err
	}
	misplaced := f.misplaced(nodes)
	if misplaced == "" {
		if err := f.tell(ctx, "reload_config"); err != nil {
			return err
		}
		f.did = append(f.did, "reload")
		if nodes, err = f.added(ctx); err != nil {
			return err
		}
	}
	nodes, moved := f.move(ctx, nodes)
	if f.told.IsZero() {
		f.told = time.Now()
	}
	if moved != nil && ctx.Err() != nil {
		return moved
	}
	if misplaced != "" {
		return f.afresh(ctx, misplaced, moved)
	}
	differs, stuck, err := f.shows(ctx, nodes)
	switch {
	case err != nil:
		return errors.Join(moved, err)
	case stuck != "":
		return f.afresh(ctx, stuck, moved)
	case differs != "":
		return errors.Join(moved, hint.Wrap(fmt.Errorf("reload pgpool at %s: %s", f.pcp, differs),
			"see pgpool's log, and whether it was started with this config file"))
	}
	return moved
}

// promoteAtOnce moves the leader before anything else is asked, if pgpool has it where
// the file does: to show the others, some pgpools ask them, and one of them may hang.
func (f *follower) promoteAtOnce(ctx context.Context) (bool, error) {
	id := f.leader()
	if id < 0 {
		return false, nil
	}
	n, err := f.pcp.node(ctx, id)
	if err != nil || !n.is(f.backends[id]) || !n.attached() || n.primary {
		return false, nil //nolint:nilerr // the whole look that follows says more
	}
	if err := f.do(ctx, step{"promote", id}, n.String()); err != nil {
		return true, err
	}
	for giveUp := time.Now().Add(lag); time.Now().Before(giveUp) && pause(ctx); {
		if n, err := f.pcp.node(ctx, id); err == nil && n.primary {
			break
		}
	}
	return true, nil
}

// look asks for the backends. While pcp is started anew, after a move, it is asked again.
func (f *follower) look(ctx context.Context, again bool) (nodes []node, err error) {
	err = f.retry(ctx, again, func() error {
		nodes, err = f.pcp.nodes(ctx)
		return err
	})
	return nodes, err
}

// tell runs a client of pcp.
func (f *follower) tell(ctx context.Context, client string, args ...string) error {
	return f.retry(ctx, !f.told.IsZero(), func() error {
		_, err := f.pcp.run(ctx, client, args...)
		return err
	})
}

// retry tries what may fail because pgpool starts its pcp anew.
func (f *follower) retry(ctx context.Context, again bool, try func() error) error {
	giveUp := time.Now().Add(lag)
	for {
		err := try()
		if err == nil || !again || time.Now().After(giveUp) || !pause(ctx) {
			return err
		}
	}
}

// pause waits before the next look, and is false if ctx ends first.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(look):
		return true
	}
}

// do tells one step.
func (f *follower) do(ctx context.Context, s step, was string) error {
	if err := f.tell(ctx, s.verb+"_node", "-n", strconv.Itoa(s.id)); err != nil {
		return err
	}
	f.log.Info("pgpool was told to "+s.verb+" a backend", "backend", s.id, "was", was)
	f.did = append(f.did, fmt.Sprintf("%s %d", s.verb, s.id))
	f.told = time.Now()
	return nil
}

// added waits until pgpool has the backends that a reload adds.
func (f *follower) added(ctx context.Context) ([]node, error) {
	giveUp := time.Now().Add(lag)
	for {
		nodes, err := f.look(ctx, !f.told.IsZero())
		if err != nil || !f.missing(nodes) || time.Now().After(giveUp) {
			return nodes, err
		}
		if !pause(ctx) {
			return nil, fmt.Errorf("reload pgpool at %s: %w", f.pcp, context.Cause(ctx))
		}
	}
}

// move tells pgpool what it takes until its backends are as the file wants them. It returns
// them as they were last seen.
func (f *follower) move(ctx context.Context, nodes []node) ([]node, error) {
	for range rounds {
		p := f.plan(nodes, nil)
		if p.attaches() {
			p = f.plan(nodes, silent(ctx, nodes, p.steps))
		}
		if p.attaches() && p.stands && f.isAstray(f.settings) {
			return nodes, hint.Wrap(fmt.Errorf("pgpool at %s took another backend for the primary when a standby was attached, so those are left detached for %v", f.pcp, astray),
				"sr_check_user has to be able to log in everywhere, and no other backend may take writes; then restart pgbaton")
		}
		if f.all && len(p.steps) > 0 && p.steps[0].verb == "promote" {
			f.wentAstray(f.settings)
			err := f.do(ctx, p.steps[0], nodes[p.steps[0].id].String())
			return nodes, errors.Join(err, hint.Wrap(
				fmt.Errorf("pgpool at %s took another backend for the primary as soon as a standby was attached, so all are left detached", f.pcp),
				"sr_check_user has to be able to log in everywhere, and no other backend may take writes"))
		}
		f.all = p.stands && p.attaches()
		if len(p.steps) == 0 {
			if len(p.left) > 0 {
				return nodes, hint.Wrap(fmt.Errorf("move backends of pgpool at %s: %s", f.pcp, strings.Join(p.left, "; ")),
					"the others are as they should be; what does not answer is tried again")
			}
			return nodes, nil
		}
		var err error
		if nodes, err = f.take(ctx, nodes, p.steps); err != nil {
			return nodes, err
		}
	}
	return nodes, fmt.Errorf("move backends of pgpool at %s: it does not stay as it was told: %v", f.pcp, nodes)
}

// isAstray says whether pgpool was led astray by the same places not long ago.
func (d *daemon) isAstray(s *settings) bool {
	return d.strayed.places == s.wanted() && time.Since(d.strayed.at) < astray
}

func (d *daemon) wentAstray(s *settings) { d.strayed.places, d.strayed.at = s.wanted(), time.Now() }

// take takes steps and waits until pgpool shows them.
func (f *follower) take(ctx context.Context, nodes []node, steps []step) ([]node, error) {
	for _, s := range steps {
		if err := f.do(ctx, s, nodes[s.id].String()); err != nil {
			return nodes, err
		}
	}
	begun, attached := time.Now(), time.Time{}
	for {
		var err error
		if nodes, err = f.look(ctx, true); err != nil {
			return nodes, err
		}
		open := ""
		for _, s := range steps {
			if !s.done(nodes) {
				open = fmt.Sprintf("%s %d", s.verb, s.id)
				break
			}
		}
		switch now := time.Now(); {
		case open == "" && !(plan{steps: steps}).attaches():
			return nodes, nil
		case open == "" && attached.IsZero():
			attached = now
		case open == "" && now.Sub(attached) > settles:
			return nodes, nil
		case open != "" && now.Sub(begun) > lag:
			return nodes, hint.Wrap(fmt.Errorf("move backends of pgpool at %s: it took %q and has not done it within %v", f.pcp, open, lag),
				"see pgpool's log: its main process may wait for a server that does not answer")
		}
		if !pause(ctx) {
			return nodes, fmt.Errorf("move backends of pgpool at %s: %w", f.pcp, context.Cause(ctx))
		}
	}
}
