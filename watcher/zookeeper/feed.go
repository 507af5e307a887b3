package zookeeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/watcher"
)

// feed reads a znode, or all below one, and then again what a watch has fired for: a
// heartbeat costs one read. The reads themselves set the watches, so nothing slips
// through between the two.
type feed struct {
	store *Store
	query watcher.Query
	root  string // the znode's whole path

	session *session // nil until the first answer
	tree    tree
	rev     uint64

	mu      sync.Mutex
	stale   map[string]look     // by path
	stirred chan struct{}       // one slot: stale has something
	awaited map[string]struct{} // paths of those that went, and are told of when they are back
}

// atMost is how many znodes one feed awaits: a watch on what never comes back stays until
// its session ends.
const atMost = 16

// look is what of a znode is to be read.
type look struct{ data, kids bool }

// sight is what was seen of a znode.
type sight struct {
	path string
	look
	gone    bool
	content content
	listing listing
}

// atOnce is how many reads of one feed are under way at a time.
const atOnce = 32

func newFeed(s *Store, q watcher.Query) *feed {
	path := q.Path
	if q.Kind == watcher.Prefix {
		path = strings.TrimRight(path, "/")
	}
	root := s.chroot + "/" + strings.TrimPrefix(path, "/")
	if root != "/" && path == "" {
		root = strings.TrimSuffix(root, "/")
	}
	f := &feed{store: s, query: q, root: root, tree: tree{}, stirred: make(chan struct{}, 1), awaited: map[string]struct{}{}}
	f.stale = map[string]look{root: f.whole()}
	return f
}

// whole is all that the feed wants of a znode.
func (f *feed) whole() look { return look{data: true, kids: f.query.Kind == watcher.Prefix} }

// Next implements watcher.Feed.
func (f *feed) Next(ctx context.Context) (watcher.Answer, error) {
	err := f.next(ctx)
	if err != nil {
		return watcher.Answer{}, f.store.explain(fmt.Errorf("read %s: %w", f.query, err))
	}
	rev := f.tree.rev()
	if rev <= f.rev { // what had the highest is gone, or all of it
		rev = f.rev + 1
	}
	f.rev = rev
	return f.answer(), nil
}

func (f *feed) next(ctx context.Context) error {
	if f.session == nil {
		session, err := f.store.session(ctx)
		if err != nil {
			return err
		}
		f.session = session
		session.join(f)
		if err := f.store.login(ctx, session); err != nil {
			return err
		}
		if err := session.sync(ctx, f.root); err != nil {
			return err
		}
		_, err = f.refresh(ctx)
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.session.lost:
			return f.session.why()
		case <-f.stirred:
			if changed, err := f.refresh(ctx); changed || err != nil {
				return err
			}
		}
	}
}

// Close implements watcher.Feed.
func (f *feed) Close() {
	if f.session != nil {
		f.session.leave(f)
	}
}

// stir says that what is at some spots may have changed.
func (f *feed) stir(spots ...spot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range spots {
		if f.query.Kind == watcher.Key && (at.kids || at.path != f.root) {
			continue
		}
		l := f.stale[at.path]
		f.stale[at.path] = look{data: l.data || !at.kids, kids: l.kids || at.kids}
	}
	if len(f.stale) > 0 {
		select {
		case f.stirred <- struct{}{}:
		default:
		}
	}
}

// refresh reads all that is stale, and what it finds to be new. It says whether the
// answer is another one.
func (f *feed) refresh(ctx context.Context) (changed bool, err error) {
	f.mu.Lock()
	todo := f.stale
	f.stale = map[string]look{}
	f.mu.Unlock()
	for len(todo) > 0 {
		seen, err := f.see(ctx, todo)
		if err != nil {
			return false, err
		}
		// Those that are gone come first: a folder that was read later may have them again.
		slices.SortStableFunc(seen, func(a, b sight) int { return cmp.Compare(rank(a), rank(b)) })
		todo = map[string]look{}
		for _, s := range seen {
			news, unseen := f.tree.take(s, f.whole().kids)
			changed = changed || news
			for path, l := range unseen {
				todo[path] = l
			}
		}
	}
	return changed, nil
}

func rank(s sight) int {
	if s.gone {
		return 0
	}
	return 1
}

// see reads several znodes.
func (f *feed) see(ctx context.Context, todo map[string]look) ([]sight, error) {
	var all errgroup.Group
	all.SetLimit(atOnce)
	seen, i := make([]sight, len(todo)), 0
	for path, l := range todo {
		at := &seen[i]
		at.path, at.look = path, l
		i++
		all.Go(func() error {
			if err := f.seeOne(ctx, at); err != nil {
				if path != f.root {
					err = fmt.Errorf("%s: %w", path, err)
				}
				return err
			}
			return nil
		})
	}
	return seen, all.Wait()
}

// seeOne reads one znode. One that goes while it is read is stirred by its going.
func (f *feed) seeOne(ctx context.Context, at *sight) (err error) {
	for at.data {
		at.content, err = f.session.get(ctx, at.path)
		if err == nil {
			break
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		if at.path == f.root || f.awaits(at.path) {
			there, err := f.session.exists(ctx, at.path)
			if err != nil {
				return err
			}
			if there {
				continue // it has just come
			}
		}
		at.gone = true
		return nil
	}
	if !at.kids || at.data && isEphemeral(at.content.stat) {
		return nil
	}
	at.listing, err = f.session.children(ctx, at.path)
	if errors.Is(err, zk.ErrNoNode) {
		at.kids = false
		return nil
	}
	return err
}

// awaits says whether a znode that is gone is told of when it is back, and so read at once.
// That its folder has another name in it would be told too, but is one question more: and
// the next leader's key has the name of the last one's.
func (f *feed) awaits(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, is := f.awaited[path]; is {
		return true
	}
	if n := f.tree[path]; n == nil || !isEphemeral(n.stat) || len(f.awaited) >= atMost {
		return false
	}
	f.awaited[path] = struct{}{}
	return true
}

func (f *feed) answer() watcher.Answer {
	a := watcher.Answer{Presence: watcher.Present, Rev: f.rev}
	n := f.tree[f.root]
	switch {
	case f.query.Kind == watcher.Prefix:
		a.Value = f.tree.pairs(f.root, f.query.Path)
	case n == nil:
		a.Presence = watcher.Absent
	default:
		a.Value = n.pair(f.query.Path, f.query.Path)
	}
	return a
}
