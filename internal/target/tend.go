package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// Guard watches over holds from outside, for when this process is killed.
type Guard interface {
	// Leave ends the watch. over says that there is nothing to guard any more;
	// else the guard stays as if this process had been killed.
	Leave(over bool)
}

// guarded starts a guard if there is none. It comes before the first hold, though that is
// some milliseconds later for it: a kill between the two would leave traffic held with nobody
// to release it.
func (k *keeper) guarded() {
	if k.guard == nil && k.spec.Guard != nil {
		k.guard = k.spec.Guard()
	}
}

// ready looks at what may have to be held one day: it is known beforehand
// whether that can be done, and when it matters nobody has to log in first.
func (k *keeper) ready(ctx context.Context, calm map[string][]reload.Address) bool {
	limited, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	var errs []error
	readier, can := reload.As[reload.Readier](k.spec.Daemon)
	for _, name := range slices.Sorted(maps.Keys(calm)) {
		var err error
		if can {
			err = readier.Ready(limited, calm[name])
		} else {
			_, err = k.holder.Traffic(limited, calm[name])
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	k.trouble("traffic could not be held now", err)
	return err == nil
}

// tend holds what is not held yet of an order, unless the time has come to give
// up.
func (k *keeper) tend(ctx context.Context, name string, o order) {
	if r := k.releasing[name]; r != nil {
		// It is wanted again: what is released is held anew, at once.
		r.cancel()
		k.await(r)
	}
	for _, r := range k.releasing {
		r.cancel() // it has done what cannot wait, and is in the way
	}
	now := time.Now()
	h, known := k.holding()[name]
	switch {
	case !known:
		h = Hold{Cluster: name, Leader: o.leader, Began: now, Until: now.Add(o.timeout)}
	case now.After(h.Until):
		k.giveUp(ctx, h, "hold_timeout has passed", "see what keeps the cluster without a leader")
		return
	}
	h.Leader = o.leader
	limited, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	traffic, err := k.holder.Traffic(limited, o.leader)
	if traffic.Limit > 0 && traffic.Clients*100 >= traffic.Limit*crowded {
		k.giveUp(ctx, h, fmt.Sprintf("%d clients of %d are connected", traffic.Clients, traffic.Limit), "raise the limit (pgbouncer's max_client_conn, haproxy's maxconn): clients that wait need a place")
		return
	}
	if len(traffic.Flowing) > 0 {
		err = errors.Join(err, k.hold(ctx, h, traffic.Flowing, o))
	}
	k.hasTried(name)
	if o.why == cluster.Promoting && err == nil {
		err = k.evict(limited, name, o)
	}
	k.trouble("traffic is not held as it should be", err)
}

// evict ends the sessions that no hold can keep from writing on where nobody
// leads any more, once for each change.
func (k *keeper) evict(ctx context.Context, name string, o order) error {
	evictor, can := reload.As[reload.Evictor](k.spec.Daemon)
	k.mu.Lock()
	done := k.evicted[name]
	k.mu.Unlock()
	if !can || done {
		return nil
	}
	how, err := evictor.Evict(ctx, o.leader)
	if err != nil {
		return fmt.Errorf("end sessions of the leader before: %w", err)
	}
	k.mu.Lock()
	k.evicted[name] = true
	k.mu.Unlock()
	if how != "" {
		k.log.Info("ended sessions of the leader before", "cluster", name, "how", how)
	}
	return nil
}

// hasTried notes that a hold was begun, as far as there is something to hold.
func (k *keeper) hasTried(name string) {
	k.mu.Lock()
	before := k.tried[name]
	k.tried[name] = true
	k.mu.Unlock()
	if !before {
		k.changed()
	}
}

// hold holds names, once a killed pgbaton would leave word of them. The disk gets it meanwhile:
// a hold ends with the machine that its daemon runs on, so no client has to
// wait for a slow disk.
func (k *keeper) hold(ctx context.Context, h Hold, names []string, o order) error {
	again := len(h.Names) > 0
	// In the order of holding: what was held last counts last when it is released.
	before := slices.DeleteFunc(slices.Clone(h.Names), func(name string) bool { return slices.Contains(names, name) })
	h.Names = slices.Concat(before, names)
	held := k.holding()
	held[h.Cluster] = h
	if err := k.save(held); err != nil {
		return fmt.Errorf("hold traffic: %w", err) // what nobody else could release is not held
	}
	k.mu.Lock()
	k.held = held
	k.mu.Unlock()
	k.changed()
	k.guarded()

	limited, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	begun := time.Now()
	err := k.holder.Hold(limited, names)
	took := time.Since(begun)
	if err == nil {
		k.spec.note(history.Held{Target: k.spec.ID(), Cluster: h.Cluster, At: time.Now(), Began: h.Began, Took: took})
		k.log.Info("traffic held", "cluster", h.Cluster, "phase", string(o.why), "names", strings.Join(names, ", "),
			"took", took.Round(10*time.Microsecond).String(), "again", again)
	}
	return err
}

// giveUp releases before leadership is steady, and holds the cluster no more
// until it is.
func (k *keeper) giveUp(ctx context.Context, h Hold, why, advice string) {
	k.mu.Lock()
	k.spent[h.Cluster] = true
	k.mu.Unlock()
	k.log.Error("traffic is not held any longer", "code", explain.HoldGivenUp, "cluster", h.Cluster, "reason", why, "hint", advice)
	k.release(ctx, h, why)
}

// releasing is a release under way. What it does first, within milliseconds, is
// to let clients go on; then it waits until they are served.
type releasing struct {
	hold   Hold
	why    string
	begun  time.Time
	err    error
	cancel context.CancelFunc
	done   chan struct{} // closed when err is set
}

// release lets a hold go, beside everything else. If that fails it is tried
// again: the hold stays in the state folder until then.
func (k *keeper) release(ctx context.Context, h Hold, why string) *releasing {
	if r := k.releasing[h.Cluster]; r != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, letGo)
	r := &releasing{hold: h, why: why, begun: time.Now(), cancel: cancel, done: make(chan struct{})}
	k.releasing[h.Cluster] = r
	go func() {
		defer cancel()
		r.err = k.holder.Release(ctx, h.Names)
		close(r.done)
		select {
		case k.trigger <- struct{}{}:
		default:
		}
	}()
	return r
}

// await waits for a release and takes up what it came to.
func (k *keeper) await(r *releasing) {
	<-r.done
	k.finish(r)
}

// finish takes up what a release came to.
func (k *keeper) finish(r *releasing) {
	name := r.hold.Cluster
	delete(k.releasing, name)
	if r.err != nil {
		k.retry[name] = time.Now().Add(5 * tend)
		k.trouble("traffic stays held", explain.Mark(fmt.Errorf("release traffic: %w", r.err), explain.StaysHeld))
		return
	}
	delete(k.retry, name)
	k.trouble("traffic stays held", nil)
	if len(r.hold.Names) > 0 {
		k.spec.note(history.Released{
			Target: k.spec.ID(), Cluster: name, At: time.Now(), Held: r.begun.Sub(r.hold.Began), Took: time.Since(r.begun), Reason: r.why,
		})
		k.log.Info("traffic released", "cluster", name, "reason", r.why, "held", r.begun.Sub(r.hold.Began).Round(time.Millisecond).String(),
			"took", time.Since(r.begun).Round(10*time.Microsecond).String())
	}
	k.mu.Lock()
	delete(k.held, name)
	delete(k.over, name)
	held := maps.Clone(k.held)
	k.mu.Unlock()
	if err := k.save(held); err != nil {
		k.log.Error("a hold that is over stays in the state folder", "error", err)
	}
	if len(held) == 0 && k.guard != nil {
		k.guard.Leave(true)
		k.guard = nil
	}
	k.changed()
}

// trouble logs an error of one kind at its 1st, 2nd, 4th, 8th … time in a row.
func (k *keeper) trouble(what string, err error) {
	if err == nil {
		delete(k.failed, what)
		return
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	k.failed[what]++
	if bits.OnesCount(uint(k.failed[what])) == 1 { //nolint:gosec // it counts from one
		args := []any{"error", err, "times", k.failed[what], "hint", hint.Of(err)}
		if code := explain.Of(err); code != "" {
			args = append(args, "code", code)
		}
		k.log.Error(what, args...)
	}
}
