package cluster

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/watcher"
)

var update = flag.Bool("update", false, "rewrite golden files")

// moment is one state of the keys below a scope, as integration/record wrote
// it down from a real cluster.
type moment struct {
	At    time.Time      `json:"at"`
	Index uint64         `json:"index"`
	Pairs []recordedPair `json:"pairs"`
}

type recordedPair struct {
	Key, Value, Session                        string
	CreateIndex, ModifyIndex, LockIndex, Flags uint64
}

func readMoments(t *testing.T, path string) []moment {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var moments []moment
	if err := json.Unmarshal(content, &moments); err != nil {
		t.Fatal(err)
	}
	return moments
}

func (m moment) pairs() []watcher.Pair {
	out := make([]watcher.Pair, len(m.Pairs))
	for i, p := range m.Pairs {
		out[i] = watcher.Pair{Path: p.Key, Value: p.Value, Session: p.Session, CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex, LockIndex: p.LockIndex}
	}
	return out
}

// TestRecorded plays what real clusters did through decoder and Next, and
// compares the story that comes out with a golden one.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/patroni*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var story strings.Builder
			for _, way := range []Way{WayKey, WayRole} {
				fmt.Fprintf(&story, "# confirm = %s\n", way)
				tellStory(&story, readMoments(t, file), Policy{Confirm: []Way{way}})
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(story.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), story.String()); diff != "" {
				t.Errorf("the story changed (-want +have):\n%s", diff)
			}
		})
	}
}

// tellStory writes a line for each moment that is no mere heartbeat.
func tellStory(w *strings.Builder, moments []moment, policy Policy) {
	var baton Baton
	for i, m := range moments {
		seen := DecodePatroni("batman", prefixOf(m), m.pairs())
		next := Next(baton, seen, policy, nil, m.At)
		if i == 0 || !next.Same(baton) {
			at := m.At.Sub(moments[0].At).Round(time.Millisecond)
			fmt.Fprintf(w, "%8s %s\n", at, describe(next))
		}
		baton = next
	}
}

func prefixOf(m moment) string {
	if len(m.Pairs) == 0 {
		return "service/batman/"
	}
	parts := strings.SplitAfterN(m.Pairs[0].Key, "/", 3)
	return parts[0] + parts[1]
}

func describe(b Baton) string {
	v := b.View()
	name := func(m *Member) string {
		if m == nil {
			return "-"
		}
		return m.Name
	}
	var replicas []string
	for _, r := range v.Replicas {
		s := r.Name
		if r.Sync {
			s += "*"
		}
		replicas = append(replicas, s)
	}
	s := fmt.Sprintf("%-10s leader=%s key=%s timeline=%d replicas=%s", v.Phase, name(v.Leader), b.Seen.Key.Name, v.Timeline, strings.Join(replicas, ","))
	if v.Standby {
		s += " standby-leader=" + name(v.StandbyLeader)
	}
	if v.Paused {
		s += " paused"
	}
	if v.Failover != nil {
		s += fmt.Sprintf(" failover=%s:%s", v.Failover.Leader, v.Failover.Member)
		if !v.Failover.ScheduledAt.IsZero() {
			s += " scheduled"
		}
	}
	for _, p := range v.Problems {
		s += " problem=" + p
	}
	return s
}
