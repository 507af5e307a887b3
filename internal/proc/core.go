package proc

import (
	"fmt"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"
)

// cores is the limit of core files as it was before NoCore. The limit is the
// process's, and so is this.
var cores struct {
	sync.Mutex
	were *unix.Rlimit // nil: it was not touched
}

// NoCore keeps this process's memory, with all the secrets in it, out of core
// files. Checks inherit that; other commands get the limit that we had.
//
// It is the soft limit that goes down, which anybody can raise again: to be not
// dumpable at all would be inherited by nobody, but would give our /proc to root
// and so take from us the right to start a check in a user namespace.
func NoCore() error {
	cores.Lock()
	defer cores.Unlock()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &was); err != nil {
		return fmt.Errorf("read limit of core files: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, none(was)); err != nil {
		return fmt.Errorf("limit core files: %w", err)
	}
	if cores.were == nil {
		cores.were = &was
	}
	return nil
}

// none is one byte, which no core file fits into. With zero, the kernel would
// start a handler that it has in the place of a file, as systemd-coredump; with
// one it does not.
func none(was unix.Rlimit) *unix.Rlimit { return &unix.Rlimit{Cur: min(1, was.Max), Max: was.Max} }

// startAsItWas starts a command with the limit of core files that we had. For
// the moment that takes, we have it too.
func startAsItWas(cmd *exec.Cmd) error {
	cores.Lock()
	defer cores.Unlock()
	if cores.were == nil {
		return cmd.Start()
	}
	if unix.Setrlimit(unix.RLIMIT_CORE, cores.were) == nil {
		defer func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, none(*cores.were)) }()
	}
	return cmd.Start()
}

// startWithout starts a command that is not to have what startAsItWas gives
// another for a moment.
func startWithout(cmd *exec.Cmd) error {
	cores.Lock()
	defer cores.Unlock()
	return cmd.Start()
}
