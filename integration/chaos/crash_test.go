//go:build amd64

package chaos

import (
	"syscall"
	"testing"

	"github.com/pgbaton/pgbaton/internal/faulttest"
)

// TestKilledAtEachStep moves the leader and kills pgbaton as it enters the first
// system call that changes anything, then the second, and so on. Whatever it was
// about to do, the files are whole, and the next start brings files and daemon
// to the new leader, without a change that was done already.
func TestKilledAtEachStep(t *testing.T) {
	for name, build := range stands {
		t.Run(name, func(t *testing.T) {
			s, kills := build(t), 0
			for range rounds(t) {
				kills += s.walk(t, func(int) faulttest.Fault { return faulttest.Fault{Kill: true} })
			}
			t.Logf("injected %d times", kills)
		})
	}
}

// TestEachStepFails lets each of those calls fail in turn, in the ways of a disk
// that is broken, full, or not allowed.
func TestEachStepFails(t *testing.T) {
	errnos := []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EPERM}
	for name, build := range stands {
		t.Run(name, func(t *testing.T) {
			s, failed := build(t), 0
			for round := range rounds(t) {
				failed += s.walk(t, func(n int) faulttest.Fault {
					return faulttest.Fault{Errno: errnos[(n+round)%len(errnos)]}
				})
			}
			t.Logf("injected %d times", failed)
		})
	}
}

// walk does a fault to each call of a run in turn, and returns how often.
func (s *stand) walk(t *testing.T, fault func(n int) faulttest.Fault) (done int) {
	t.Helper()
	leader := 1 // learn left it there
	for at := 0; ; at++ {
		leader = 1 - leader
		s.lead(t, leader)
		s.arm()
		res, err := faulttest.Run(s.once(t), func(n int, _ faulttest.Call) (f faulttest.Fault) {
			if n == at {
				f = fault(n)
			}
			return f
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Hit) == 0 {
			if res.Status.ExitStatus() != 0 {
				t.Fatalf("without a fault: exit %d\n%s", res.Status.ExitStatus(), res.Output)
			}
			return done
		}
		done++
		s.lost(res.Calls)
		s.survives(t, leader, res)
	}
}

// survives looks at what a fault left, and at what the next start makes of it.
func (s *stand) survives(t *testing.T, leader int, res faulttest.Result) {
	t.Helper()
	fail := func(what string, err error) {
		t.Helper()
		t.Fatalf("%v hit call %d of %v: %s: %v\n%s", res.Status, len(res.Calls), res.Hit, what, err, res.Output)
	}
	if err := s.intact(t); err != nil {
		fail("the files", err)
	}
	if res.Status.Exited() && res.Status.ExitStatus() == 0 {
		if err := s.settled(t, leader); err != nil {
			fail("it said that all is done", err)
		}
	}
	before := s.look(t)
	out, err := s.once(t).CombinedOutput()
	if err != nil {
		fail("the next start", errorWith(err, out))
	}
	if err := s.settled(t, leader); err != nil {
		fail("after the next start", err)
	}
	after := s.look(t)
	for f, i := range before {
		if i.same(s.whole[f][leader]) && after[f].stat.Ino != i.stat.Ino {
			fail("the next start", errorWith(errAgain, []byte(f)))
		}
	}
	if out, err = s.once(t).CombinedOutput(); err != nil || len(changes(string(out))) > 0 {
		fail("the start after", errorWith(err, out))
	}
}
