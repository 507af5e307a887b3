//go:build record

package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

var into = flag.String("into", "", "folder for the recordings; without it they replace the decoders' test data")

// State is what a prefix held at one moment.
type State struct {
	At    time.Time `json:"at"`
	Index uint64    `json:"index"` // X-Consul-Index of the answer
	Pairs []Pair    `json:"pairs"`
}

// Pair is a key as Consul gives it, its value as text.
type Pair struct {
	Key         string
	Value       string
	Session     string `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
	LockIndex   uint64
	Flags       uint64
}

// recorder follows a prefix with blocking queries, from the start of a sequence
// to its end. What happens while Consul is away it cannot see, but goes on
// afterwards.
type recorder struct {
	t      *testing.T
	consul *servertest.ConsulServer
	prefix string

	mu     sync.Mutex
	states []State
	cancel context.CancelFunc
	done   chan struct{}
}

func record(t *testing.T, consul *servertest.ConsulServer, prefix string) *recorder {
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{t: t, consul: consul, prefix: prefix, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		var index uint64
		for ctx.Err() == nil {
			asked := index
			q := (&api.QueryOptions{WaitIndex: index, WaitTime: time.Minute}).WithContext(ctx)
			pairs, meta, err := consul.Client.KV().List(prefix, q)
			if err != nil {
				index = 0
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			if index = meta.LastIndex; index < asked {
				index = 0 // Consul is older than it was: an index of its future would only wait
			}
			r.add(State{At: time.Now().UTC(), Index: meta.LastIndex, Pairs: texts(pairs)})
		}
	}()
	return r
}

// add drops a state in which nothing but the index of the answer is new.
func (r *recorder) add(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.states); n > 0 && reflect.DeepEqual(r.states[n-1].Pairs, s.Pairs) {
		return
	}
	r.states = append(r.states, s)
}

// until waits for a state that the sequence must reach.
func (r *recorder) until(what string, cond func(last State) bool) {
	r.t.Helper()
	servertest.Eventually(r.t, what, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.states); n == 0 || !cond(r.states[n-1]) {
			return errors.New("not yet")
		}
		return nil
	})
}

// last is the newest state; before the first one it is empty.
func (r *recorder) last() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.states) == 0 {
		return State{}
	}
	return r.states[len(r.states)-1]
}

// stop ends the sequence.
func (r *recorder) stop() {
	r.cancel()
	<-r.done
}

// save ends the sequence and writes its file, one state a line.
func (r *recorder) save(name string) {
	r.t.Helper()
	r.stop()
	var out bytes.Buffer
	out.WriteString("[\n")
	for i, s := range r.states {
		line, err := json.Marshal(s)
		if err != nil {
			r.t.Fatal(err)
		}
		out.Write(line)
		if i < len(r.states)-1 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	out.WriteString("]\n")
	if out.Len() > 100<<10 {
		r.t.Errorf("%s: %d bytes are too many to commit", name, out.Len())
	}
	if bytes.Contains(out.Bytes(), []byte(os.TempDir()+"/")) {
		r.t.Errorf("%s: it names a folder of this machine", name)
	}
	dir := *into
	if dir == "" {
		dir = filepath.Join(servertest.ModuleRoot(r.t), "watcher", "cluster", "testdata", "patroni3")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), out.Bytes(), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("%s: %d states, %d bytes", name, len(r.states), out.Len())
}

// value is a key's value below the prefix; ok is false if it is absent.
func (s State) value(key string) (value string, ok bool) {
	for _, p := range s.Pairs {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// member decodes one member's key.
func (s State) member(scope, name string) (m struct{ Role, State string }) {
	v, _ := s.value("service/" + scope + "/members/" + name)
	_ = json.Unmarshal([]byte(v), &m)
	return m
}

// leader is the leader key; without one it is empty.
func (s State) leader() Pair {
	for _, p := range s.Pairs {
		if p.Key == prefix+"leader" {
			return p
		}
	}
	return Pair{}
}

// syncStandby is the first synchronous standby.
func (s State) syncStandby() string {
	var sync struct {
		Standbys string `json:"sync_standby"`
	}
	v, _ := s.value(prefix + "sync")
	_ = json.Unmarshal([]byte(v), &sync)
	first, _, _ := strings.Cut(sync.Standbys, ",")
	return first
}

// asks says whether a switchover is asked for whose request holds a text.
func (s State) asks(text string) bool {
	v, _ := s.value(prefix + "failover")
	return strings.Contains(v, text)
}

func texts(pairs api.KVPairs) []Pair {
	out := make([]Pair, 0, len(pairs))
	for _, p := range pairs {
		out = append(out, Pair{
			Key: p.Key, Value: string(p.Value), Session: p.Session,
			CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex, LockIndex: p.LockIndex, Flags: p.Flags,
		})
	}
	return out
}
