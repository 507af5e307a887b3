package field

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// reign is a leader that the pgbouncer followed.
type reign struct {
	server   string
	followed time.Time
}

// reigns reads pgbaton's log.
func (e *scene) reigns(t *testing.T) (list []reign) {
	t.Helper()
	next := ""
	for line := range strings.Lines(e.daemon.Output()) {
		at, text, found := strings.Cut(line, " [INFO]  pgbaton: ")
		if !found {
			continue
		}
		if strings.HasPrefix(text, "leader confirmed: ") {
			for _, m := range e.cluster.Members {
				if strings.Contains(text, " leader="+m.Name+" ") {
					next = server(m)
				}
			}
		}
		if !strings.HasPrefix(text, "applied: ") || next == "" {
			continue
		}
		when, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(at))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 || list[len(list)-1].server != next {
			list = append(list, reign{next, when})
		}
	}
	return list
}

// followed says whether the pgbouncer ever led to a member.
func (e *scene) followed(t *testing.T, m *servertest.PatroniMember) bool {
	t.Helper()
	return slices.ContainsFunc(e.reigns(t), func(r reign) bool { return r.server == server(m) })
}

// confirms waits until pgbaton has confirmed a member in a way.
func (e *scene) confirms(t *testing.T, m *servertest.PatroniMember, way string) {
	t.Helper()
	servertest.Eventually(t, m.Name+" is confirmed by "+way, func() error {
		for line := range strings.Lines(e.daemon.Output()) {
			if strings.Contains(line, "leader confirmed: ") && strings.Contains(line, " leader="+m.Name+" ") && strings.HasSuffix(strings.TrimSpace(line), " by="+way) {
				return nil
			}
		}
		return errors.Join(e.alive(), fmt.Errorf("it says:\n%s", e.daemon.Output()))
	})
}

// astray are the rows that began after a leader was followed, and were taken by
// another that led before.
func astray(list []reign, acks []servertest.Ack) (astray []servertest.Ack) {
	for _, a := range acks {
		for i, r := range list {
			late := slices.ContainsFunc(list[i:], func(r reign) bool { return r.server == a.Server })
			if a.Begun.After(r.followed) && !late {
				astray = append(astray, a)
				break
			}
		}
	}
	return astray
}

func TestAstray(t *testing.T) {
	begin := time.Now()
	at := func(second int) time.Time { return begin.Add(time.Duration(second) * time.Second) }
	list := []reign{{"a", at(0)}, {"b", at(10)}, {"a", at(20)}, {"c", at(30)}}
	for _, row := range []struct {
		server string
		begun  int
		astray bool
	}{
		{"a", 5, false},
		{"b", 5, false},
		{"c", 5, false}, // it may have been held
		{"a", 15, false},
		{"b", 15, false}, // it leads once more
		{"b", 25, true},
		{"a", 25, false},
		{"a", 35, true},
		{"b", 35, true},
		{"c", 35, false},
		{"d", 5, true}, // nobody ever led there
	} {
		if got := len(astray(list, []servertest.Ack{{Server: row.server, Begun: at(row.begun)}})) > 0; got != row.astray {
			t.Errorf("a row at %s that began at %d is astray: %v", row.server, row.begun, got)
		}
	}
}
