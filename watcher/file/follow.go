// Package file answers queries from this machine's files: the content of a
// file (Local), and a whole catalog in a state file (State), the embedded
// store of demos, fixtures and captures.
//
// Both follow their files with fsnotify on the folder, not on the file: an
// editor that renames a new file over the old one is seen, and so is a symlink
// that is switched. A slow look beside it serves file systems that send no
// events.
package file

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long a file must be quiet before it is read: writers that
	// truncate first would else be read half-way.
	settle = 5 * time.Millisecond
	// lookEvery is the pace of the slow look.
	lookEvery = 2 * time.Second
)

// follower shares one fsnotify watcher among all followed files: the kernel
// allows a user few of them.
type follower struct {
	notify *fsnotify.Watcher // nil if the kernel refused: the slow look stays
	done   chan struct{}

	mu      sync.Mutex
	folders map[string]map[chan struct{}]struct{}
}

// newFollower starts following nothing. The caller closes it.
func newFollower() *follower {
	f := &follower{done: make(chan struct{}), folders: map[string]map[chan struct{}]struct{}{}}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		close(f.done)
		return f
	}
	f.notify = notify
	go f.run()
	return f
}

// close ends it and waits for its goroutine.
func (f *follower) close() error {
	var err error
	if f.notify != nil {
		err = f.notify.Close()
	}
	<-f.done
	return err
}

func (f *follower) run() {
	defer close(f.done)
	for {
		select {
		case event, ok := <-f.notify.Events:
			if !ok {
				return
			}
			f.wake(filepath.Dir(event.Name))
			f.wake(event.Name) // a followed folder itself came or went
		case _, ok := <-f.notify.Errors:
			if !ok {
				return
			}
			// Events were lost: everybody looks again.
			f.wakeAll()
		}
	}
}

func (f *follower) wake(folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.folders[folder] {
		poke(c)
	}
}

func (f *follower) wakeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, waiting := range f.folders {
		for c := range waiting {
			poke(c)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait returns once path may have changed since begin was called, at the slow
// look, or with ctx's error. Between begin and wait the caller looks at the
// file, so that no change falls between.
type wait struct {
	f       *follower
	folders []string
	c       chan struct{}
}

// begin starts to listen for changes of path.
func (f *follower) begin(path string) *wait {
	w := &wait{f: f, c: make(chan struct{}, 1)}
	w.folders = append(w.folders, filepath.Dir(path))
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != w.folders[0] {
		w.folders = append(w.folders, filepath.Dir(real))
	}
	if f.notify == nil {
		return w
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, folder := range w.folders {
		if f.folders[folder] == nil {
			f.folders[folder] = map[chan struct{}]struct{}{}
		}
		f.folders[folder][w.c] = struct{}{}
		// Added each time: a folder that vanished lost its watch.
		_ = f.notify.Add(folder)
	}
	return w
}

func (w *wait) end() {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	for _, folder := range w.folders {
		delete(w.f.folders[folder], w.c)
		if len(w.f.folders[folder]) == 0 {
			delete(w.f.folders, folder)
		}
	}
}

func (w *wait) next(ctx context.Context) error {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	case <-w.c:
	}
	for {
		timer.Reset(settle)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return nil
		case <-w.c:
		}
	}
}
