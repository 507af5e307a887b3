package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/reload"
)

// How a hold is looked after.
const (
	tend    = 50 * time.Millisecond // between two looks: a daemon that restarted lets its clients through
	standBy = 10 * time.Second      // between two looks while nothing is to be held
	crowded = 80                    // per cent of the clients that the daemon takes: more can't wait
	answers = time.Second           // how long one look may take
	letGo   = 3 * time.Second       // how long a release at the end may take
)

// ErrHandOver as a cause ends a loop whose holds another one is about to take
// over: they are left as they are.
var ErrHandOver = errors.New("handed over")

// keeper holds and releases a target's traffic as it is ordered. It is the only
// one that talks to the Holder.
type keeper struct {
	spec    Spec
	holder  reload.Holder
	folder  state.Folder
	log     hclog.Logger
	trigger chan struct{} // a level trigger: orders changed
	changed func()        // called when held or spent changed

	mu    sync.Mutex
	want  map[string]order
	calm  map[string][]reload.Address // by cluster: whose traffic may have to be held one day
	held  map[string]Hold
	spent map[string]bool

	// The rest belongs to run.
	told  string
	guard func() // ends the guard; nil if there is none
}

// newKeeper makes the keeper of a target that holds, and takes over what the
// last process held; nil for a target that does not.
func newKeeper(spec Spec, folder state.Folder, log hclog.Logger, changed func()) *keeper {
	holder, can := reload.As[reload.Holder](spec.Daemon)
	if !spec.Hold || !can {
		return nil
	}
	spec.Claim(folder)
	k := &keeper{
		spec: spec, holder: holder, folder: folder, log: log, changed: changed, trigger: make(chan struct{}, 1),
		held: map[string]Hold{}, spent: map[string]bool{},
	}
	var before Holds
	found, err := folder.Load(k.name(), &before)
	if err != nil {
		log.Error("what the last process held is not known", "error", err, "hint", "look at the daemon for what is paused")
	}
	if found && before.Version == HoldsVersion {
		for _, h := range before.Holds {
			k.held[h.Cluster] = h
			log.Warn("taking over what the last process held", "cluster", h.Cluster, "names", strings.Join(h.Names, ", "), "until", h.Until)
		}
	}
	k.want = k.spec.orders(Wanted{}, false, k.held, k.spent)
	return k
}

func (k *keeper) name() string { return HeldPrefix + k.spec.ID() }

// order tells what is wanted held, given how the target stands, and forgets what
// was spent of clusters that are steady again.
func (k *keeper) order(w Wanted, inSync bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.spent {
		if b, known := w.Batons[name]; known && !b.Hold() {
			delete(k.spent, name)
		}
	}
	want := k.spec.orders(w, inSync, k.held, k.spent)
	calm := map[string][]reload.Address{}
	for name, b := range w.Batons {
		if b.Confirmed != nil && !b.Hold() {
			calm[name] = addresses(nil, *b.Confirmed)
		}
	}
	same := maps.EqualFunc(want, k.want, func(a, b order) bool { return slices.Equal(a.leader, b.leader) && a.why == b.why }) &&
		maps.EqualFunc(calm, k.calm, slices.Equal[[]reload.Address])
	k.want, k.calm = want, calm
	if same {
		return
	}
	select {
	case k.trigger <- struct{}{}:
	default:
	}
}

// holding is what is held now.
func (k *keeper) holding() map[string]Hold {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.held)
}

// run keeps what is ordered, until ctx ends; then everything is released.
func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		k.mu.Lock()
		want, held, calm := maps.Clone(k.want), maps.Clone(k.held), k.calm
		k.mu.Unlock()
		for name, h := range held {
			if _, still := want[name]; !still {
				k.release(ctx, h, "leadership is steady")
			}
		}
		for name, o := range want {
			k.tend(ctx, name, o)
		}
		again := time.After(tend)
		if len(want) == 0 && len(k.holding()) == 0 {
			k.ready(ctx, calm)
			again = time.After(standBy)
		}
		select {
		case <-ctx.Done():
		case <-k.trigger:
		case <-again:
		}
	}
	if errors.Is(context.Cause(ctx), ErrHandOver) {
		return
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), letGo)
	defer cancel()
	for _, h := range k.holding() {
		k.release(end, h, "pgbaton ends")
	}
}

// ready looks at what may have to be held one day: it is known beforehand
// whether that can be done, and when it matters nobody has to log in first.
func (k *keeper) ready(ctx context.Context, calm map[string][]reload.Address) {
	limited, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(calm)) {
		_, err := k.holder.Traffic(limited, calm[name])
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if err == nil {
		k.told = ""
	}
	k.trouble("traffic could not be held now", err)
}

// tend holds what is not held yet of an order, unless the time has come to give
// up.
func (k *keeper) tend(ctx context.Context, name string, o order) {
	k.mu.Lock()
	h, known := k.held[name]
	spent := k.spent[name]
	k.mu.Unlock()
	now := time.Now()
	switch {
	case spent:
		return
	case !known:
		h = Hold{Cluster: name, Leader: o.leader, Began: now, Until: now.Add(o.timeout)}
	case now.After(h.Until):
		k.giveUp(ctx, h, "hold_timeout has passed", "see what keeps the cluster without a leader")
		return
	case len(h.Names) > 0 && !k.folder.Has(k.name()):
		k.log.Warn("traffic was released by hand", "cluster", name)
		k.drop(name, true)
		return
	}
	h.Leader = o.leader
	limited, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	traffic, err := k.holder.Traffic(limited, o.leader)
	if err == nil && traffic.Limit > 0 && traffic.Clients*100 >= traffic.Limit*crowded {
		k.giveUp(ctx, h, fmt.Sprintf("%d clients of %d are connected", traffic.Clients, traffic.Limit), "raise max_client_conn: clients that wait need a place")
		return
	}
	if len(traffic.Flowing) > 0 {
		err = errors.Join(err, k.hold(limited, h, traffic.Flowing, o))
	}
	k.trouble("traffic is not held as it should be", err)
}

// hold holds names, once the disk has them.
func (k *keeper) hold(ctx context.Context, h Hold, names []string, o order) error {
	again := len(h.Names) > 0
	all := slices.Concat(h.Names, names)
	slices.Sort(all)
	h.Names = slices.Compact(all)
	k.keep(h)
	if err := k.save(); err != nil {
		return fmt.Errorf("hold traffic: %w", err) // what is not on disk is not held
	}
	begun := time.Now()
	err := k.holder.Hold(ctx, names)
	if err == nil {
		k.log.Info("traffic held", "cluster", h.Cluster, "phase", string(o.why), "names", strings.Join(names, ", "),
			"took", time.Since(begun).Round(10*time.Microsecond).String(), "again", again)
	}
	if k.guard == nil && k.spec.Guard != nil {
		k.guard = k.spec.Guard(h.Until)
	}
	return err
}

// giveUp releases before leadership is steady, and holds the cluster no more
// until it is.
func (k *keeper) giveUp(ctx context.Context, h Hold, why, advice string) {
	k.mu.Lock()
	k.spent[h.Cluster] = true
	k.mu.Unlock()
	k.log.Error("traffic is not held any longer", "cluster", h.Cluster, "reason", why, "hint", advice)
	k.release(ctx, h, why)
}

// release lets a hold go. If that fails it is tried again: the hold stays in
// the state folder until then.
func (k *keeper) release(ctx context.Context, h Hold, why string) {
	begun := time.Now()
	if err := k.holder.Release(ctx, h.Names); err != nil {
		k.trouble("traffic stays held", fmt.Errorf("release traffic: %w", err))
		return
	}
	if len(h.Names) > 0 {
		k.log.Info("traffic released", "cluster", h.Cluster, "reason", why, "held", begun.Sub(h.Began).Round(time.Millisecond).String(),
			"took", time.Since(begun).Round(10*time.Microsecond).String())
	}
	k.drop(h.Cluster, false)
}

// keep takes a hold up.
func (k *keeper) keep(h Hold) {
	k.mu.Lock()
	k.held[h.Cluster] = h
	k.mu.Unlock()
	k.changed()
}

// drop forgets a hold; spent says whether the cluster is not to be held again
// for now.
func (k *keeper) drop(name string, spent bool) {
	k.mu.Lock()
	delete(k.held, name)
	if spent {
		k.spent[name] = true
	}
	empty := len(k.held) == 0
	k.mu.Unlock()
	if err := k.save(); err != nil {
		k.log.Error("a hold that is over stays on disk", "error", err)
	}
	if empty {
		k.told = ""
		if k.guard != nil {
			k.guard()
			k.guard = nil
		}
	}
	k.changed()
}

// save writes what is held, before it is held and after it is no more.
func (k *keeper) save() error {
	held := k.holding()
	if len(held) == 0 {
		return k.folder.Remove(k.name())
	}
	holds := Holds{Version: HoldsVersion, Target: k.spec.ID(), Recipe: k.spec.Recipe}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		holds.Holds = append(holds.Holds, held[name])
	}
	return k.folder.Save(k.name(), holds)
}

// trouble logs an error, unless it is the one logged last.
func (k *keeper) trouble(what string, err error) {
	if err == nil || errors.Is(err, context.Canceled) || what+err.Error() == k.told {
		return
	}
	k.told = what + err.Error()
	k.log.Error(what, "error", err, "hint", hint.Of(err))
}
