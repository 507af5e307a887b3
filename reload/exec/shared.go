package exec

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/reload"
)

// gather is how long the first of several targets that share a command waits for
// the others: a change of one thing reaches them within a few milliseconds.
const gather = 50 * time.Millisecond

// Shared is a command that several targets have in common. What they want within
// a moment is one run of it, and one result for all of them.
type Shared struct {
	Config
	Targets int // how many there are

	mu   sync.Mutex
	next *turn      // the run that gathers; nil if there is none
	runs sync.Mutex // held while the command runs
}

// turn is one run.
type turn struct {
	done chan struct{} // closed when the rest is set
	mark reload.Mark
	err  error
}

// errLeft is the result of a run that whoever led it gave up: somebody else
// leads the next.
var errLeft = errors.New("whoever ran the command gave up")

type shared struct {
	reload.Daemon
	with *Shared
}

// Daemon returns a daemon that runs the command with the others. It runs nothing.
func (s *Shared) Daemon(log hclog.Logger) (reload.Daemon, error) {
	if len(s.Command) == 0 {
		return nobody{}, nil
	}
	d, err := s.Config.Daemon(log)
	if err != nil || s.Targets < 2 {
		return d, err
	}
	return &shared{d, s}, nil
}

// Unwrap returns the daemon that runs it alone.
func (s *shared) Unwrap() reload.Daemon { return s.Daemon }

// Follow runs the command once for all that want it.
func (s *shared) Follow(ctx context.Context, want []reload.File, last reload.Mark) (reload.Mark, error) {
	for {
		t, leads := s.with.join()
		if leads {
			s.lead(ctx, t, want, last)
		}
		select {
		case <-ctx.Done():
			return reload.Mark{}, context.Cause(ctx)
		case <-t.done:
		}
		switch {
		case !errors.Is(t.err, errLeft):
			return t.mark, t.err
		case ctx.Err() != nil:
			return reload.Mark{}, context.Cause(ctx)
		}
	}
}

// join finds the run that gathers, or begins one.
func (s *Shared) join() (t *turn, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next, leads = &turn{done: make(chan struct{})}, true
	}
	return s.next, leads
}

// lead waits for the others and runs the command. Whoever comes after that waits
// for the next run: this one may have read its files already.
func (s *shared) lead(ctx context.Context, t *turn, want []reload.File, last reload.Mark) {
	defer close(t.done)
	select {
	case <-ctx.Done():
	case <-time.After(gather):
	}
	s.with.runs.Lock()
	defer s.with.runs.Unlock()
	s.with.mu.Lock()
	s.with.next = nil
	s.with.mu.Unlock()
	if t.mark, t.err = s.Daemon.Follow(ctx, want, last); ctx.Err() != nil {
		t.err = errLeft
	}
}

// nobody is a daemon that there is not: files without a command.
type nobody struct{}

func (nobody) Check(context.Context, []reload.File) error { return nil }

func (nobody) Follow(context.Context, []reload.File, reload.Mark) (reload.Mark, error) {
	return reload.Mark{Proof: reload.Followed, How: "nobody has to follow"}, nil
}
