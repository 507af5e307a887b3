package target

import (
	"slices"
	"testing"

	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// A pgbouncer that was started on a file which pgbaton could not tell it of has
// sessions at that file's leader.
func TestLeftKnowsWhomFilesHaveShown(t *testing.T) {
	led := func(leader string, port int) map[string]Led {
		return map[string]Led{"main": {Leader: leader, Host: "127.0.0.1", Port: port}}
	}
	l := &Loop{}
	for range 3 { // a reload that fails again and again adds nothing
		l.shows(led("pg1", 1))
	}
	l.shows(led("pg2", 2))
	want := []reload.Address{{Host: "127.0.0.1", Port: 1}, {Host: "127.0.0.1", Port: 2}}
	if have := l.left(Wanted{Led: led("pg3", 3)}); !slices.Equal(have, want) {
		t.Errorf("it left %v, want %v", have, want)
	}
	if have := l.left(Wanted{Led: led("pg2", 2)}); !slices.Equal(have, want[:1]) {
		t.Errorf("back at pg2 it left %v, want %v", have, want[:1])
	}
	former := cluster.Member{Name: "pg4", Endpoints: []cluster.Endpoint{{Host: "127.0.0.1", Port: 4}, {Host: "127.0.0.1", Port: 2}}}
	w := Wanted{Led: led("pg2", 2), Batons: map[string]cluster.Baton{"main": {Former: &former}}}
	if have, want := l.left(w), append(want[:1:1], reload.Address{Host: "127.0.0.1", Port: 4}); !slices.Equal(have, want) {
		t.Errorf("with a leader of before it left %v, want %v", have, want)
	}
	l.record.Led = led("pg1", 1)
	if have := l.left(Wanted{Led: led("pg1", 1)}); !slices.Equal(have, want[1:]) {
		t.Errorf("back at pg1 it left %v, want %v", have, want[1:])
	}
}
