package doctor

import (
	"testing"
	"time"
)

// TestBehind: how far a replica is behind, look after look.
func TestBehind(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	age := func(d time.Duration) *time.Duration { return &d }
	const unknown = -1
	type look struct {
		at    time.Duration
		stand stand
		want  time.Duration
	}
	follows := func(receiver string, age *time.Duration) stand { return stand{true, receiver, true, age} }
	lacks := func(receiver string, age *time.Duration) stand { return stand{true, receiver, false, age} }
	for name, looks := range map[string][]look{
		"a primary":                              {{0, stand{}, 0}},
		"an idle replica":                        {{0, follows("17", age(time.Hour)), 0}, {time.Minute, follows("17", age(time.Hour)), 0}},
		"one that never replayed a transaction":  {{0, follows("17", nil), 0}},
		"replay is paused, and was before":       {{0, lacks("17", age(20*time.Second)), 20 * time.Second}},
		"paused after a rest of an hour":         {{0, follows("17", age(time.Hour)), 0}, {2 * time.Second, lacks("17", age(time.Hour)), 2 * time.Second}, {9 * time.Second, lacks("17", age(time.Hour)), 9 * time.Second}},
		"slow, but not far behind":               {{0, follows("17", age(0)), 0}, {time.Minute, lacks("17", age(time.Second)), time.Second}},
		"cut off":                                {{0, follows("17", age(time.Hour)), 0}, {5 * time.Second, follows("", age(time.Hour)), 5 * time.Second}},
		"cut off, and begun again":               {{0, follows("17", age(time.Hour)), 0}, {5 * time.Second, follows("", age(time.Hour)), 5 * time.Second}, {6 * time.Second, follows("18", age(time.Hour)), 6 * time.Second}, {7 * time.Second, follows("18", age(time.Hour)), 0}},
		"begun again with all the rest to come":  {{0, follows("17", age(time.Hour)), 0}, {time.Hour, follows("18", age(2*time.Hour)), time.Hour}, {time.Hour + time.Second, lacks("18", age(2*time.Hour)), time.Hour + time.Second}},
		"cut off before anybody looked":          {{0, follows("", age(time.Minute)), time.Minute}},
		"from an archive":                        {{0, stand{true, "", false, age(3 * time.Second)}, 3 * time.Second}},
		"nothing is known":                       {{0, stand{replica: true}, unknown}},
		"promoted, and a replica of another one": {{0, follows("17", age(0)), 0}, {time.Second, stand{}, 0}, {2 * time.Second, stand{true, "", true, age(time.Minute)}, time.Minute}},
	} {
		var m memory
		for i, l := range looks {
			got, err := m.behind(l.stand, start.Add(l.at))
			if err != nil {
				got = unknown
			}
			if got != l.want {
				t.Errorf("%s: look %d: %v (%v), want %v", name, i, got, err, l.want)
			}
		}
	}
}
