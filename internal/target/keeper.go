package target

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/reload"
)

// How a hold is looked after.
const (
	tend    = 50 * time.Millisecond // between two looks: a daemon that restarted lets its clients through
	standBy = 10 * time.Second      // between two looks while nothing is to be held
	getSet  = time.Second           // the same, while it is not known that it could be
	crowded = 80                    // per cent of the clients that the daemon takes: more can't wait
	answers = time.Second           // how long one look may take, or one hold
	letGo   = 5 * time.Second       // how long a release may take
	atEnd   = 3 * time.Second       // the same, when pgbaton ends
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
	why   string                      // what is not in want is not held
	calm  map[string][]reload.Address // by cluster: whose traffic may have to be held one day
	held  map[string]Hold
	spent map[string]bool
	over  map[string]bool // by cluster: the hold was spent, leadership is steady again, and it is being released
	tried map[string]bool // by cluster: a hold of it was begun, or there was nothing to hold

	evicted map[string]bool // by cluster: sessions of the leader before were ended

	// The rest belongs to run.
	guard     Guard // nil if there is none
	releasing map[string]*releasing
	retry     map[string]time.Time // by cluster: when a release that failed is tried again
	failed    map[string]int       // by what failed: how often in a row
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
		held: map[string]Hold{}, spent: map[string]bool{}, over: map[string]bool{}, tried: map[string]bool{}, evicted: map[string]bool{}, failed: map[string]int{}, retry: map[string]time.Time{},
		releasing: map[string]*releasing{},
	}
	var before Holds
	found, err := folder.Load(k.name(), &before)
	if err != nil {
		log.Error("what the last process held is not known", "error", err, "hint", "look at the daemon for what is paused")
	}
	if found && before.Version == HoldsVersion {
		for _, h := range before.Holds {
			// A clock that was set back meanwhile makes no hold longer.
			if last := time.Now().Add(h.Until.Sub(h.Began)); h.Until.After(last) {
				h.Until = last
			}
			k.held[h.Cluster] = h
			log.Warn("taking over what the last process held", "cluster", h.Cluster, "names", strings.Join(h.Names, ", "), "until", h.Until)
		}
	}
	k.want = k.spec.orders(Wanted{}, false, k.held, k.spent)
	return k
}

func (k *keeper) name() string { return HeldPrefix + k.spec.ID() }

// order tells what is wanted held, given how the target stands, and forgets what
// was spent of clusters that are steady again. It says whether anything is held
// because leadership is in doubt, or may be in a moment.
func (k *keeper) order(w Wanted, inSync bool) (unsure bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.spent {
		if b, known := w.Batons[name]; known && !b.Hold() {
			delete(k.spent, name)
			// What is left of the hold is no reason to keep it until the next leader is followed.
			_, k.over[name] = k.held[name]
		}
	}
	over := func(name string, _ bool) bool {
		b := w.Batons[name]
		return !b.Hold()
	}
	maps.DeleteFunc(k.tried, over)
	maps.DeleteFunc(k.evicted, over)
	held := maps.Clone(k.held)
	maps.DeleteFunc(held, func(name string, _ Hold) bool { return k.over[name] })
	want := k.spec.orders(w, inSync, held, k.spent)
	if w.Frozen {
		// Nobody would be led on: clients wait for nothing.
		want, k.why = nil, "frozen by an operator"
	} else {
		k.why = "leadership is steady"
	}
	for name := range want {
		b := w.Batons[name]
		unsure = unsure || b.Hold() && (!k.tried[name] || len(k.held[name].Names) > 0)
	}
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
		return unsure
	}
	select {
	case k.trigger <- struct{}{}:
	default:
	}
	return unsure
}

// holding is what is held now.
func (k *keeper) holding() map[string]Hold {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.held)
}

// run keeps what is ordered, until ctx ends; then everything is released.
func (k *keeper) run(ctx context.Context) {
	if len(k.held) > 0 {
		k.guarded()
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-k.trigger:
		case <-time.After(k.round(ctx)):
		}
	}
	k.end(ctx)
}

// round brings what is held nearer to what is wanted. It says when to look again
// at the latest.
func (k *keeper) round(ctx context.Context) time.Duration {
	for _, r := range k.releasing {
		select {
		case <-r.done:
			k.finish(r)
		default:
		}
	}
	k.byHand()
	k.mu.Lock()
	want, held, calm, spent, why := maps.Clone(k.want), maps.Clone(k.held), k.calm, maps.Clone(k.spent), k.why
	k.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if _, wanted := want[name]; (!wanted || spent[name]) && time.Now().After(k.retry[name]) {
			k.release(ctx, held[name], why)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !spent[name] {
			k.tend(ctx, name, want[name])
		}
	}
	if len(want) == 0 && len(k.holding()) == 0 {
		if !k.ready(ctx, calm) {
			return getSet
		}
		return standBy
	}
	return tend
}

// end releases everything, unless another keeper is about to take it over.
func (k *keeper) end(ctx context.Context) {
	over := errors.Is(context.Cause(ctx), ErrHandOver)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), atEnd)
	defer cancel()
	for _, r := range k.releasing {
		k.await(r)
	}
	for _, h := range k.holding() {
		if !over {
			k.await(k.release(last, h, "pgbaton ends"))
		}
	}
	if k.guard != nil {
		k.guard.Leave(over || len(k.holding()) == 0)
	}
}

// byHand finds out that the holds were released by somebody else, who takes the
// file away first. What he may have missed is released too.
func (k *keeper) byHand() {
	held := k.holding()
	names := 0
	for _, h := range held {
		names += len(h.Names)
	}
	if names == 0 || k.folder.Has(k.name()) {
		return
	}
	k.mu.Lock()
	for name := range held {
		if k.releasing[name] == nil && !k.spent[name] {
			k.log.Warn("traffic was released by hand", "cluster", name)
			k.spent[name] = true
		}
	}
	k.mu.Unlock()
}

// save writes what is held, before it is held and after it is no more.
func (k *keeper) save(held map[string]Hold) error {
	if len(held) == 0 {
		return k.folder.Remove(k.name())
	}
	holds := Holds{Version: HoldsVersion, Target: k.spec.ID(), Recipe: k.spec.Recipe}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		holds.Holds = append(holds.Holds, held[name])
	}
	if err := k.folder.Write(k.name(), holds); err != nil {
		return err
	}
	// A kill leaves word at once; a power loss, which matters to a daemon on another
	// machine alone, once the disk is done.
	go func() {
		if err := k.folder.Sync(k.name()); err != nil {
			k.log.Warn("a power loss would leave no word of what is held", "error", err)
		}
	}()
	return nil
}
