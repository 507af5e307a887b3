package pgpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
)

// afresh restarts pgpool for what it does not follow otherwise. moved is what is wrong with
// its backends until then.
func (f *follower) afresh(ctx context.Context, why string, moved error) error {
	if len(f.restart) == 0 {
		return errors.Join(moved, hint.Wrap(fmt.Errorf("reload pgpool at %s: it follows this only when it is started: %s", f.pcp, why),
			"restart pgpool, or let pgbaton do it: restart = [\"systemctl\", \"restart\", \"pgpool2\"]; the leader is followed meanwhile. So that no number of a backend changes, name all members in the var backends"))
	}
	f.log.Warn("pgpool is restarted, for it follows a change only when it is started", "change", why)
	if _, err := proc.Run(ctx, proc.Command{Args: f.restart, Timeout: f.timeout}); err != nil {
		return hint.Wrap(fmt.Errorf("restart pgpool: %w", err), "run it by hand as pgbaton's user")
	}
	f.did, f.told, f.all = append(f.did, "restart"), time.Now(), false
	nodes, err := f.started(ctx)
	if err != nil {
		return err
	}
	nodes, err = f.move(ctx, nodes)
	if err != nil {
		return err
	}
	differs, stuck, err := f.shows(ctx, nodes)
	if differs != "" || stuck != "" {
		err = hint.Wrap(fmt.Errorf("pgpool at %s was restarted: %s%s", f.pcp, differs, stuck), "see whether it was started with this config file")
	}
	return err
}

// started waits for a pgpool that was started with the file: the command that restarts may
// return before the one of before has ended.
func (f *follower) started(ctx context.Context) ([]node, error) {
	for giveUp := time.Now().Add(2 * lag); ; {
		nodes, err := f.look(ctx, true)
		why := ""
		if err == nil {
			var shown map[string]string
			shown, err = f.pcp.settings(ctx)
			why = cmp.Or(f.misplaced(nodes), f.difference(shown, atStart))
		}
		switch {
		case err == nil && why == "":
			return nodes, nil
		case err == nil && time.Now().After(giveUp):
			err = hint.Wrap(fmt.Errorf("pgpool at %s was restarted: %s", f.pcp, why), "see whether it was started with this config file")
		}
		if time.Now().After(giveUp) {
			return nil, err
		}
		if !pause(ctx) {
			return nil, fmt.Errorf("restart pgpool: %w", context.Cause(ctx))
		}
	}
}
