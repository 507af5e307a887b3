package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Shared lets whoever asks at once share one look: the one that is under way. Nobody
// waits longer than its patience for it.
type Shared struct {
	examiner Examiner
	patience time.Duration
	limit    time.Duration // of a look, whoever waits for it

	mu     sync.Mutex
	look   *look // nil while there is none
	closed bool
	idle   sync.Cond
}

// look is one that is under way, or over.
type look struct {
	begun time.Time
	done  chan struct{}
	err   error // once done
}

// NewShared returns one whose looks end within limit, and whose answers come within
// patience.
func NewShared(e Examiner, patience, limit time.Duration) *Shared {
	s := &Shared{examiner: e, patience: patience, limit: limit}
	s.idle.L = &s.mu
	return s
}

// Examine implements Examiner.
func (s *Shared) Examine(ctx context.Context) error {
	l := s.join(context.WithoutCancel(ctx)) // others may wait for it when who began it has gone
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	case now := <-patience.C:
		err := fmt.Errorf("the checks have not ended after %v", now.Sub(l.begun).Round(10*time.Millisecond))
		if p, can := s.examiner.(interface{ Doing() string }); can && p.Doing() != "" {
			err = fmt.Errorf("%s: no answer after %v", p.Doing(), now.Sub(l.begun).Round(10*time.Millisecond))
		}
		return err
	}
}

func (s *Shared) join(ctx context.Context) *look {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.look != nil {
		return s.look
	}
	l := &look{begun: time.Now(), done: make(chan struct{}), err: errors.New("the look at the server came to nothing")}
	if s.closed {
		l.err = errors.New("nobody looks here any more: ask again")
		close(l.done)
		return l
	}
	s.look = l
	go func() {
		limited, cancel := context.WithTimeout(ctx, s.limit)
		defer cancel()
		defer func() {
			close(l.done)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.look = nil
			s.idle.Broadcast()
		}()
		l.err = s.examiner.Examine(limited)
	}()
	return l
}

// Close waits for the look that is under way, and lets no other begin.
func (s *Shared) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.look != nil {
		s.idle.Wait()
	}
}
