package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// pooler is a daemon that holds, as far as a keeper can see.
type pooler struct {
	mu      sync.Mutex
	leads   map[string]int  // database → port of the server that it leads to
	paused  map[string]bool // by whomever
	clients int
	taken   bool // another pgbaton holds it
	linger  time.Duration
	knows   func(string) bool
	holdErr error
	freeErr error
	moves   []string // what it was told
}

func (p *pooler) Check(context.Context, []reload.File) error { return nil }

func (p *pooler) Follow(context.Context, []reload.File, reload.Mark) (reload.Mark, error) {
	return reload.Mark{}, nil
}

func (p *pooler) Traffic(_ context.Context, leader []reload.Address) (reload.Traffic, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := reload.Traffic{Clients: p.clients, Limit: 100}
	if p.taken {
		return t, fmt.Errorf("look at traffic: %w", reload.ErrTaken)
	}
	for _, name := range slices.Sorted(maps.Keys(p.leads)) {
		for _, l := range leader {
			if p.leads[name] == l.Port && !p.paused[name] {
				t.Flowing = append(t.Flowing, name)
			}
		}
	}
	return t, nil
}

func (p *pooler) Hold(_ context.Context, names []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holdErr != nil {
		return p.holdErr
	}
	for _, n := range names {
		p.paused[n] = true
	}
	p.moves = append(p.moves, "hold "+strings.Join(names, ","))
	return nil
}

func (p *pooler) Release(ctx context.Context, names []string) error {
	p.mu.Lock()
	defer func() {
		linger := p.linger
		p.mu.Unlock()
		select {
		case <-time.After(linger):
		case <-ctx.Done():
		}
	}()
	if p.freeErr != nil {
		return p.freeErr
	}
	for _, n := range names {
		delete(p.paused, n)
	}
	p.moves = append(p.moves, "release "+strings.Join(names, ","))
	return nil
}

// evicting is a pooler with sessions that can't be held.
type evicting struct{ *pooler }

func (e evicting) Evict(_ context.Context, leader []reload.Address) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moves = append(e.moves, fmt.Sprintf("evict %d", leader[0].Port))
	return "one", nil
}

func (p *pooler) told() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.moves, "; ")
}

// bouncing is a pooler with two databases of one cluster, one of another, and
// one that an operator paused.
func bouncing() *pooler {
	return &pooler{
		leads:  map[string]int{"app": 1, "web": 1, "other": 9, "kept": 1},
		paused: map[string]bool{"kept": true},
	}
}

// kept runs a keeper in a bubble of virtual time.
type kept struct {
	*keeper
	pool   *pooler
	cancel context.CancelCauseFunc
	done   chan struct{}
	guards *int
}

// leaver counts guards.
type leaver struct{ guards *int }

func (l leaver) Leave(over bool) {
	if over {
		*l.guards--
	}
}

func keep(t *testing.T, dir string, p *pooler) *kept {
	t.Helper()
	return keepDaemon(t, dir, p, p)
}

func keepDaemon(t *testing.T, dir string, p *pooler, d reload.Daemon) *kept {
	t.Helper()
	guards := 0
	spec := Spec{Kind: "test", Name: "t", Daemon: d, Hold: true, HoldTimeout: func(string) time.Duration { return time.Minute }, Knows: p.knows}
	spec.Guard = func() Guard {
		guards++
		return leaver{&guards}
	}
	k := newKeeper(spec, state.Folder{Dir: dir}, hclog.NewNullLogger(), func() {})
	ctx, cancel := context.WithCancelCause(t.Context())
	out := &kept{keeper: k, pool: p, cancel: cancel, done: make(chan struct{}), guards: &guards}
	go func() {
		defer close(out.done)
		k.run(ctx)
	}()
	t.Cleanup(func() { out.end(nil) })
	return out
}

func (k *kept) end(cause error) {
	k.cancel(cause)
	<-k.done
}

// led is a wanted state in which pg1 at port 1 leads, in a phase.
func ledIn(phase cluster.Phase, leader string, port int) Wanted {
	m := cluster.Member{Name: leader, Host: "a", Port: port, Endpoints: []cluster.Endpoint{{Host: "a", Port: port}}}
	b := cluster.Baton{Confirmed: &m, Term: cluster.Term{Leader: leader}, Phase: phase, Early: phase == cluster.Lost}
	return Wanted{Hash: "h", Batons: map[string]cluster.Baton{"main": b}, Led: map[string]Led{"main": led(b)}}
}

func expect(t *testing.T, k *kept, want string) {
	t.Helper()
	synctest.Wait()
	if have := k.pool.told(); have != want {
		t.Errorf("told %q, want %q", have, want)
	}
	_, err := os.Stat(filepath.Join(k.folder.Dir, "held.test.t.json"))
	if held := len(k.holding()) > 0; held && err != nil {
		t.Error("what is held is not in the state folder")
	}
}

func TestKeeper(t *testing.T) {
	const held = "hold app,web"
	const both = held + "; release app,web"
	for name, play := range map[string]func(t *testing.T, k *kept, p *pooler){
		"a switchover": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			if *k.guards != 1 {
				t.Errorf("%d guards watch over it", *k.guards)
			}
			k.order(ledIn(cluster.Promoting, "pg1", 1), true)
			k.order(ledIn(cluster.Steady, "pg2", 2), false) // confirmed, not followed yet
			time.Sleep(time.Second)
			expect(t, k, held)
			k.order(ledIn(cluster.Steady, "pg2", 2), true)
			expect(t, k, both)
			if *k.guards != 0 {
				t.Errorf("%d guards stay", *k.guards)
			}
		},
		"frozen": func(t *testing.T, k *kept, p *pooler) {
			w := ledIn(cluster.Switching, "pg1", 1)
			k.order(w, true)
			expect(t, k, held)
			w.Frozen = true
			k.order(w, true)
			time.Sleep(time.Second)
			expect(t, k, both)
			w.Frozen = false
			k.order(w, true)
			expect(t, k, both+"; "+held)
		},
		"called off": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.order(ledIn(cluster.Steady, "pg1", 1), true)
			expect(t, k, both)
		},
		"files that are complete but show the old leader keep it held": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			w := ledIn(cluster.Steady, "pg2", 2)
			w.Led["main"] = Led{Leader: "pg1"}
			k.order(w, true)
			time.Sleep(time.Second)
			expect(t, k, held)
		},
		"the deadline": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			time.Sleep(59 * time.Second)
			expect(t, k, held)
			time.Sleep(2 * time.Second)
			expect(t, k, both)
			k.order(ledIn(cluster.Leaderless, "pg1", 1), true)
			time.Sleep(time.Second)
			expect(t, k, both) // not again, until it was steady
			k.order(ledIn(cluster.Steady, "pg1", 1), true)
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, both+"; "+held)
		},
		"the deadline, and a leader is confirmed while it is released": func(t *testing.T, k *kept, p *pooler) {
			p.mu.Lock()
			p.linger = 2 * time.Second
			p.mu.Unlock()
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			time.Sleep(61 * time.Second)
			k.order(ledIn(cluster.Steady, "pg2", 2), false) // confirmed, not followed yet
			time.Sleep(5 * time.Second)
			expect(t, k, both) // it is not held twice
			k.order(ledIn(cluster.Steady, "pg2", 2), false)
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, both+"; "+held)
		},
		"too many clients": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			p.mu.Lock()
			p.clients = 80
			p.mu.Unlock()
			time.Sleep(time.Second)
			expect(t, k, both)
		},
		"the daemon restarts": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Lost, "pg1", 1), true)
			expect(t, k, held)
			p.mu.Lock()
			p.paused = map[string]bool{}
			p.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			expect(t, k, held+"; hold app,kept,web")
		},
		"a database that comes up meanwhile": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			p.mu.Lock()
			p.leads["new"] = 1
			p.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			expect(t, k, held+"; hold new")
			k.order(ledIn(cluster.Steady, "pg1", 1), true)
			expect(t, k, held+"; hold new; release app,web,new")
		},
		"the end": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.end(nil)
			expect(t, k, both)
		},
		"handed over": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.end(ErrHandOver)
			expect(t, k, held)
			next := keep(t, k.folder.Dir, p)
			time.Sleep(time.Second)
			expect(t, next, held) // it does not know the cluster yet
			next.order(ledIn(cluster.Steady, "pg2", 2), true)
			expect(t, next, both)
		},
		"killed, and the deadline passes before the next start": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.end(ErrHandOver) // what a kill leaves is the same
			time.Sleep(2 * time.Minute)
			expect(t, keep(t, k.folder.Dir, p), both)
		},
		"killed, and the clock is set back before the next start": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.end(ErrHandOver)
			var left Holds
			if found, err := k.folder.Load("held.test.t", &left); err != nil || !found {
				t.Fatalf("found %v, error %v", found, err)
			}
			left.Holds[0].Began = left.Holds[0].Began.Add(time.Hour)
			left.Holds[0].Until = left.Holds[0].Until.Add(time.Hour)
			if err := k.folder.Save("held.test.t", left); err != nil {
				t.Fatal(err)
			}
			next := keep(t, k.folder.Dir, p)
			time.Sleep(50 * time.Second)
			expect(t, next, held)
			time.Sleep(11 * time.Second)
			expect(t, next, both)
		},
		"released by hand": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			if err := errors.Join(p.Release(t.Context(), []string{"app", "web"}), k.folder.Remove("held.test.t")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			expect(t, k, both+"; release app,web") // what he may have missed
			if h := k.holding(); len(h) != 0 {
				t.Errorf("it still counts as held: %v", h)
			}
		},
		"another pgbaton holds": func(t *testing.T, k *kept, p *pooler) {
			p.mu.Lock()
			p.taken = true
			p.mu.Unlock()
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			time.Sleep(time.Second)
			expect(t, k, "")
			p.mu.Lock()
			p.taken = false // it was killed
			p.mu.Unlock()
			time.Sleep(time.Second)
			expect(t, k, held)
		},
		"the console is away": func(t *testing.T, k *kept, p *pooler) {
			p.mu.Lock()
			p.holdErr = errors.New("connection refused")
			p.mu.Unlock()
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			time.Sleep(time.Second)
			expect(t, k, "")
			p.mu.Lock()
			p.holdErr = nil
			p.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			expect(t, k, held)
		},
		"a release that fails is tried again": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			p.mu.Lock()
			p.freeErr = errors.New("no answer")
			p.mu.Unlock()
			k.order(ledIn(cluster.Steady, "pg1", 1), true)
			time.Sleep(time.Second)
			expect(t, k, held)
			p.mu.Lock()
			p.freeErr = nil
			p.mu.Unlock()
			time.Sleep(time.Second)
			expect(t, k, both)
		},
		"held again while somebody releases it by hand": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Leaderless, "pg1", 1), true)
			expect(t, k, held)
			if err := p.Release(t.Context(), []string{"app", "web"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			expect(t, k, both+"; "+held) // it has not seen yet that somebody wants it released
			if err := k.folder.Remove("held.test.t"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			expect(t, k, both+"; "+both)
		},
		"a release after the deadline that fails once": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Leaderless, "pg1", 1), true)
			time.Sleep(59 * time.Second)
			p.mu.Lock()
			p.freeErr = errors.New("no answer")
			p.mu.Unlock()
			time.Sleep(2 * time.Second)
			expect(t, k, held)
			p.mu.Lock()
			p.freeErr = nil
			p.mu.Unlock()
			time.Sleep(time.Second)
			expect(t, k, both)
		},
		"lost again while it is being released": func(t *testing.T, k *kept, p *pooler) {
			p.mu.Lock()
			p.linger = 2 * time.Second // until clients are served
			p.mu.Unlock()
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.order(ledIn(cluster.Steady, "pg1", 1), true)
			time.Sleep(100 * time.Millisecond)
			k.order(ledIn(cluster.Lost, "pg1", 1), true)
			time.Sleep(10 * time.Millisecond)
			expect(t, k, both+"; "+held)
		},
		"a full disk that is emptied": func(t *testing.T, k *kept, p *pooler) {
			dir := k.folder.Dir
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			time.Sleep(time.Second)
			expect(t, k, "")
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			expect(t, k, held)
		},
		"a cluster that is in the config no more": func(t *testing.T, k *kept, p *pooler) {
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			expect(t, k, held)
			k.end(ErrHandOver)
			p.mu.Lock()
			p.knows = func(name string) bool { return name == "renamed" }
			p.mu.Unlock()
			next := keep(t, k.folder.Dir, p)
			expect(t, next, both)
		},
		"what can't be written is not held": func(t *testing.T, k *kept, p *pooler) {
			k.folder.Dir = filepath.Join(k.folder.Dir, "file", "below")
			if err := os.WriteFile(filepath.Dir(k.folder.Dir), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			k.order(ledIn(cluster.Switching, "pg1", 1), true)
			time.Sleep(time.Second)
			if told := p.told(); told != "" {
				t.Errorf("told %q", told)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				p := bouncing()
				play(t, keep(t, dir, p), p)
			})
		})
	}
}

// TestEvicts: sessions that can't be held end when another leader is named, once.
func TestEvicts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := bouncing()
		k := keepDaemon(t, dir, p, evicting{p})
		defer k.end(nil)
		k.order(ledIn(cluster.Leaderless, "pg1", 1), true)
		expect(t, k, "hold app,web")
		for range 2 {
			k.order(ledIn(cluster.Promoting, "pg1", 1), true)
			time.Sleep(time.Second)
			expect(t, k, "hold app,web; evict 1")
			k.order(ledIn(cluster.Leaderless, "pg1", 1), true)
			time.Sleep(time.Second)
		}
		k.order(ledIn(cluster.Steady, "pg1", 1), true)
		time.Sleep(time.Second)
		expect(t, k, "hold app,web; evict 1; release app,web")
	})
}

// A chain of moves: what leads to the second leader is held too.
func TestOrdersFollowAChain(t *testing.T) {
	spec := Spec{}
	held := map[string]Hold{"main": {Cluster: "main", Leader: []reload.Address{{Host: "a", Port: 1}}, Names: []string{"app"}}}
	orders := spec.orders(ledIn(cluster.Promoting, "pg2", 2), false, held, nil)
	want := []reload.Address{{Host: "a", Port: 1}, {Host: "a", Port: 2}}
	if have := orders["main"].leader; !slices.Equal(have, want) {
		t.Errorf("held is what leads to %v, want %v", have, want)
	}
}
