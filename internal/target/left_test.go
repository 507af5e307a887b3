package target

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// A pgbouncer that was started on a file which pgbaton could not tell it of has
// sessions at that file's leader.
func TestLeftKnowsWhomFilesHaveShown(t *testing.T) {
	led := func(leader string, port int) map[string]Led {
		return map[string]Led{"main": {Leader: leader, Host: "127.0.0.1", Port: port}}
	}
	spec := Spec{Kind: "test", Name: "t"}
	records := Records{state.Folder{Dir: t.TempDir()}}
	l := &Loop{spec: spec, records: records, record: Record{Version: recordVersion, Target: spec.ID()}, log: hclog.NewNullLogger()}
	for range 3 { // a reload that fails again and again adds nothing
		l.shows(led("pg1", 1))
	}
	l.shows(led("pg2", 2))
	want := []reload.Address{{Host: "127.0.0.1", Port: 1}, {Host: "127.0.0.1", Port: 2}}
	if have := l.left(Wanted{Led: led("pg3", 3)}); !slices.Equal(have, want) {
		t.Errorf("it left %v, want %v", have, want)
	}
	again := &Loop{spec: spec, records: records, log: hclog.NewNullLogger()} // the next process, after a kill
	again.start()
	if have := again.left(Wanted{Led: led("pg3", 3)}); !slices.Equal(have, want) {
		t.Errorf("after a kill it left %v, want %v", have, want)
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

// While clients are held two leaders may be left one after the other.
func TestLeavesRemembersWhileClientsAreHeld(t *testing.T) {
	at := func(port int) Wanted {
		return Wanted{Led: map[string]Led{"main": {Leader: fmt.Sprint("pg", port), Host: "127.0.0.1", Port: port}}}
	}
	address := func(port int) reload.Address { return reload.Address{Host: "127.0.0.1", Port: port} }
	l := &Loop{keeper: &keeper{held: map[string]Hold{"main": {}}}}
	move := func(from, to int) []reload.Address {
		l.record.Led = at(from).Led
		return l.leaves(at(to))
	}
	if have, want := move(1, 2), []reload.Address{address(1)}; !slices.Equal(have, want) {
		t.Errorf("after the first it left %v, want %v", have, want)
	}
	if have, want := move(2, 3), []reload.Address{address(2), address(1)}; !slices.Equal(have, want) {
		t.Errorf("after the second it left %v, want %v", have, want)
	}
	if have, want := move(3, 1), []reload.Address{address(3), address(2)}; !slices.Equal(have, want) {
		t.Errorf("back at the first it left %v, want %v", have, want)
	}
	l.keeper.held = nil
	if have, want := move(1, 3), []reload.Address{address(1)}; !slices.Equal(have, want) {
		t.Errorf("once released it left %v, want %v", have, want)
	}
}
