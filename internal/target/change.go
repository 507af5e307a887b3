package target

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// leaderChanged runs the target's command for each cluster whose leader the
// daemon was made to follow anew. The first leader that is known is no change.
func (l *Loop) leaderChanged(ctx context.Context, before, now map[string]Led) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		old, is := before[name], now[name]
		if old.Leader == "" || is.Leader == "" || old.Leader == is.Leader {
			continue
		}
		l.log.Info("leader changed", "cluster", name, "was", old.Leader, "is", is.Leader)
		if len(l.spec.OnChange) > 0 {
			l.hooks.Go(func() { l.runHook(ctx, name, old, is) })
		}
	}
}

func (l *Loop) runHook(ctx context.Context, cluster string, old, is Led) {
	address := func(led Led) string { return reload.Address{Host: led.Host, Port: led.Port}.String() }
	out, err := proc.Run(ctx, proc.Command{Args: l.spec.OnChange, Env: proc.Environment{Custom: []string{
		"PGBATON_TARGET=" + l.spec.ID(),
		"PGBATON_CLUSTER=" + cluster,
		"PGBATON_OLD_LEADER=" + old.Leader,
		"PGBATON_OLD_ADDRESS=" + address(old),
		"PGBATON_NEW_LEADER=" + is.Leader,
		"PGBATON_NEW_ADDRESS=" + address(is),
		"PGBATON_TERM=" + strconv.FormatUint(is.Created, 10),
		"PGBATON_TIMELINE=" + strconv.FormatUint(is.Timeline, 10),
	}}})
	if err != nil {
		l.log.Error("on_leader_change failed", "code", explain.HookFailed, "cluster", cluster, "error", err, "output", strings.TrimSpace(out))
	}
}
