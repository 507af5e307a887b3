package main

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"path"
	"strings"
	"sync"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/watcher"
)

// learn tells what is secret of a config. Files that it names are read by whoever
// needs them, and are never printed.
func learn(c *config.Config, secrets *secret.Keeper) {
	for _, s := range c.Stores {
		if text, err := json.Marshal(s.Settings); err == nil {
			secrets.Learn(string(text))
		}
		secrets.Learn(strings.Join(s.Environment(), "\n"))
	}
	if c.Exec != nil {
		secrets.Learn(strings.Join(c.Exec.Custom, "\n"))
	}
	for _, t := range c.Targets {
		for _, settings := range []any{t.Vars, t.Settings, t.Check, t.OnChange} {
			if text, err := json.Marshal(settings); err == nil {
				secrets.Learn(string(text))
			}
		}
		for _, tmpl := range t.Templates {
			secrets.Learn(tmpl.Text)
		}
	}
}

// listening is a store of whose answers is learned what is secret: a function that
// can't read a value quotes it in its error.
type listening struct {
	watcher.Store
	secrets *secret.Keeper

	mu      sync.Mutex
	seed    maphash.Seed
	learned map[watcher.Query]hashes
}

// hashes are those of the values that were looked through last, by key.
type hashes map[string]uint64

// listen returns a store that listens to s, and has feeds if s has.
func listen(s watcher.Store, secrets *secret.Keeper) watcher.Store {
	l := &listening{Store: s, secrets: secrets, seed: maphash.MakeSeed(), learned: map[watcher.Query]hashes{}}
	if f, is := s.(watcher.Feeder); is {
		return listeningFeeder{l, f}
	}
	return l
}

// Budget implements watcher.Limited: it is the store's.
func (l *listening) Budget() int {
	if s, is := l.Store.(watcher.Limited); is {
		return s.Budget()
	}
	return 0
}

// Fetch implements watcher.Store.
func (l *listening) Fetch(ctx context.Context, q watcher.Query, after uint64) (watcher.Answer, error) {
	a, err := l.Store.Fetch(ctx, q, after)
	l.hear(q, a)
	return a, err
}

func (l *listening) hear(q watcher.Query, a watcher.Answer) {
	switch v := a.Value.(type) {
	case watcher.Pair:
		l.learn(q, []watcher.Pair{v})
	case []watcher.Pair:
		l.learn(q, v)
	}
}

type listeningFeeder struct {
	*listening
	feeder watcher.Feeder
}

// Open implements watcher.Feeder.
func (l listeningFeeder) Open(ctx context.Context, q watcher.Query) (watcher.Feed, error) {
	feed, err := l.feeder.Open(ctx, q)
	if err != nil {
		return nil, err
	}
	return listeningFeed{feed, l.listening, q}, nil
}

type listeningFeed struct {
	watcher.Feed
	listening *listening
	query     watcher.Query
}

// Next implements watcher.Feed.
func (f listeningFeed) Next(ctx context.Context) (watcher.Answer, error) {
	a, err := f.Feed.Next(ctx)
	f.listening.hear(f.query, a)
	return a, err
}

// learn looks through the values that are others than the last ones of their keys: a
// heartbeat brings a hundred that are not.
func (l *listening) learn(q watcher.Query, pairs []watcher.Pair) {
	l.mu.Lock()
	last := l.learned[q]
	l.mu.Unlock()
	now := make(hashes, len(pairs))
	for _, p := range pairs {
		now[p.Path] = maphash.String(l.seed, p.Value)
		if sum, known := last[p.Path]; known && sum == now[p.Path] {
			continue
		}
		if secret.Names(path.Base(p.Path)) {
			l.secrets.Know(p.Value)
		}
		l.secrets.Learn(p.Value)
	}
	l.mu.Lock()
	l.learned[q] = now
	l.mu.Unlock()
}

// discreet is a daemon of whose files is learned what is secret, before anybody
// speaks of them.
type discreet struct {
	reload.Daemon
	secrets *secret.Keeper
	learned map[string][]byte // by path: what was looked through last
}

// Unwrap returns the daemon itself.
func (d discreet) Unwrap() reload.Daemon { return d.Daemon }

// Check implements reload.Daemon.
func (d discreet) Check(ctx context.Context, staged []reload.File) error {
	d.learn(staged)
	return d.Daemon.Check(ctx, staged)
}

// Follow implements reload.Daemon.
func (d discreet) Follow(ctx context.Context, want []reload.File, last reload.Mark) (reload.Mark, error) {
	d.learn(want)
	return d.Daemon.Follow(ctx, want, last)
}

func (d discreet) learn(files []reload.File) {
	for _, f := range files {
		if !bytes.Equal(d.learned[f.Path], f.Content) {
			d.learned[f.Path] = f.Content
			d.secrets.Learn(string(f.Content))
		}
	}
}
