package zookeeper

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/pgbaton/pgbaton/watcher"
)

// tree is znodes by their whole paths, as they were seen last.
type tree map[string]*znode

type znode struct {
	value string
	stat  *zk.Stat
	kids  map[string]struct{} // names
	// lately is the highest change of its own and of what is directly below it.
	lately int64
}

// take takes up what was seen of a znode. It says whether anything has changed, and
// which znodes have to be looked at therefore. deep says whether what is below them
// counts.
func (t tree) take(s sight, deep bool) (changed bool, unseen map[string]look) {
	if s.gone {
		return t.drop(s.path), nil
	}
	unseen = map[string]look{}
	n := t[s.path]
	if s.data {
		stat := s.content.stat
		// Another one of the same name: what held a session before, and so was not asked
		// for what is below it, may have something there now.
		another := n == nil || n.stat.Czxid != stat.Czxid
		if deep && another && !s.kids && !isEphemeral(stat) {
			unseen[s.path] = look{kids: true}
		}
		changed = another || n.stat.Mzxid != stat.Mzxid
		if n == nil {
			n = &znode{}
			t[s.path] = n
		}
		n.value, n.stat = string(s.content.data), stat
		n.lately = stat.Mzxid
		if deep {
			n.lately = max(n.lately, stat.Pzxid)
		}
	}
	if !s.kids || n == nil {
		return changed, unseen
	}
	if stat := s.listing.stat; stat != nil {
		n.lately = max(n.lately, stat.Pzxid)
	}
	before, now := n.kids, make(map[string]struct{}, len(s.listing.names))
	for _, name := range s.listing.names {
		now[name] = struct{}{}
		if path := join(s.path, name); t[path] == nil {
			unseen[path] = look{data: true, kids: true}
		}
	}
	for name := range before {
		if _, there := now[name]; !there {
			changed = t.drop(join(s.path, name)) || changed
		}
	}
	n.kids = now
	return changed || (len(before) == 0) != (len(now) == 0), unseen
}

// drop forgets a znode, and all below it. It says whether there was one.
func (t tree) drop(path string) bool {
	n := t[path]
	if n == nil {
		return false
	}
	delete(t, path)
	for name := range n.kids {
		t.drop(join(path, name))
	}
	return true
}

// rev is the highest change that the tree shows; 1 if it is empty.
func (t tree) rev() uint64 {
	rev := int64(1)
	for _, n := range t {
		rev = max(rev, n.lately)
	}
	return uint64(rev) //nolint:gosec // it is positive
}

// pairs are those of all znodes below root, sorted by path, as they are called below
// prefix. A znode without data that has others below it is a folder: as in Consul, where
// its UI makes some, a key that ends with a slash.
func (t tree) pairs(root, prefix string) []watcher.Pair {
	out := make([]watcher.Pair, 0, len(t))
	base := ""
	if prefix != "" {
		base = strings.TrimRight(prefix, "/") + "/"
	}
	for path, n := range t {
		if path == root {
			continue
		}
		key := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		if n.value == "" && len(n.kids) > 0 {
			key += "/"
		}
		out = append(out, n.pair(base+key, key))
	}
	slices.SortFunc(out, func(a, b watcher.Pair) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func (n *znode) pair(path, key string) watcher.Pair {
	p := watcher.Pair{
		Path: path, Key: key, Value: n.value,
		CreateIndex: uint64(n.stat.Czxid), ModifyIndex: uint64(n.stat.Mzxid), //nolint:gosec // they are positive
	}
	if isEphemeral(n.stat) {
		p.Session = strconv.FormatUint(uint64(n.stat.EphemeralOwner), 16) //nolint:gosec // its bits
	}
	return p
}

// isEphemeral says whether a session holds the znode. Nothing can be below it then. The
// same field marks containers, and znodes with a time to live.
func isEphemeral(s *zk.Stat) bool {
	const container, ttl = 1 << 63, 0xff0000
	owner := uint64(s.EphemeralOwner) //nolint:gosec // its bits
	return owner != 0 && owner != container && owner>>40 != ttl
}

// join is the path of what is below a znode by a name.
func join(path, name string) string { return strings.TrimSuffix(path, "/") + "/" + name }
