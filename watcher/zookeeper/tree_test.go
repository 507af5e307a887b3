package zookeeper

import (
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"
)

// TestTake: what has to be looked at, given what was seen. A mirror that forgets to look
// is wrong until something else happens.
func TestTake(t *testing.T) {
	whole, data, kids := look{data: true, kids: true}, look{data: true}, look{kids: true}
	at := func(created, changed, owner int64) content {
		return content{[]byte("x"), &zk.Stat{Czxid: created, Mzxid: changed, Pzxid: created, EphemeralOwner: owner}}
	}
	names := func(names ...string) listing { return listing{names, &zk.Stat{}} }
	folder := sight{path: "/a", look: whole, content: at(1, 1, 0), listing: names("b")}
	type todo map[string]look
	for name, c := range map[string]struct {
		seen    []sight
		shallow bool
		changed bool
		unseen  todo
	}{
		"new":                        {[]sight{folder}, false, true, todo{"/a/b": whole}},
		"of which data alone counts": {[]sight{{path: "/a", look: data, content: at(1, 1, 0)}}, true, true, todo{}},
		"held":                       {[]sight{{path: "/a", look: whole, content: at(1, 1, 7)}}, false, true, todo{}},
		"told of from elsewhere":     {[]sight{{path: "/a", look: data, content: at(1, 1, 0)}}, false, true, todo{"/a": kids}},
		"as it was":                  {[]sight{folder, folder}, false, false, todo{"/a/b": whole}},
		"a heartbeat":                {[]sight{folder, {path: "/a", look: data, content: at(1, 2, 0)}}, false, true, todo{}},
		"held, and then not":         {[]sight{{path: "/a", look: whole, content: at(1, 1, 7)}, {path: "/a", look: data, content: at(2, 2, 0)}}, false, true, todo{"/a": kids}},
		"empty now":                  {[]sight{folder, {path: "/a", look: kids, listing: names()}}, false, true, todo{}},
		"one more below":             {[]sight{folder, {path: "/a/b", look: whole, content: at(2, 2, 0)}, {path: "/a", look: kids, listing: names("b", "c")}}, false, false, todo{"/a/c": whole}},
		"one less below":             {[]sight{folder, {path: "/a/b", look: whole, content: at(2, 2, 0)}, {path: "/a", look: kids, listing: names()}}, false, true, todo{}},
		"gone":                       {[]sight{folder, {path: "/a", look: data, gone: true}}, false, true, nil},
		"gone before it was seen":    {[]sight{{path: "/a", look: data, gone: true}}, false, false, nil},
	} {
		tr := tree{}
		var changed bool
		var unseen map[string]look
		for _, s := range c.seen {
			changed, unseen = tr.take(s, !c.shallow)
		}
		if changed != c.changed {
			t.Errorf("%s: changed is %v", name, changed)
		}
		if diff := cmp.Diff(map[string]look(c.unseen), unseen, cmp.AllowUnexported(look{})); diff != "" {
			t.Errorf("%s: to look at (-want +have):\n%s", name, diff)
		}
	}
}
