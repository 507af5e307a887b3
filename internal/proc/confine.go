package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Confinement is what a check keeps. It reads what somebody else wrote, and
// some configs make their daemon run or fetch what they name, already when they
// are only looked at. So a check gets no rights that it was not started with, no
// core file, no network and no environment but what stands here. The zero
// Confinement keeps nothing.
type Confinement struct {
	// Network leaves it pgbaton's network. Else it has one of its own with nobody
	// in it, where the kernel gives us one.
	Network bool

	// Env are the names, with * for anything, that it gets of pgbaton's environment
	// beside those that say where it is. Where to find a store, and by what token,
	// is not among those.
	Env []string

	// Rights are capabilities that it keeps beyond those of every check, if pgbaton
	// is root.
	Rights []uintptr

	// Debug is told what the kernel does not give; nil is nobody.
	Debug func(message string, args ...any)
}

// harmless are the names that every program may want, and that hold no secret.
var harmless = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR"}

// keptByRoot are what a check that runs as root keeps of root's rights, as its
// daemon does when it starts: to read the daemon's files, to become somebody
// else, and to raise its own limits. All the others go, those by which one
// looks into another process among them.
var keptByRoot = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SYS_CHROOT, unix.CAP_SYS_RESOURCE, unix.CAP_NET_BIND_SERVICE,
}

// confined is what the environment of a check is made of.
func (c Confinement) confined(e Environment) Environment {
	e.Allow = slices.Concat(harmless, c.Env)
	return e
}

// onThread runs f on a thread that nobody else gets afterwards: what f took from
// the thread is passed on to the processes that it starts, and can't be given
// back.
func onThread[T any](f func() (T, error)) (T, error) {
	var out T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The first thread never ends, and would stay as f left it: another one.
			defer runtime.UnlockOSThread()
			out, err = onThread(f)
			return
		}
		out, err = f() // never unlocked: the thread ends with this
	}()
	<-done
	return out, err
}

// shed takes from this thread what its children must not get.
func (c Confinement) shed() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up further rights: %w", err)
	}
	// What systemd's AmbientCapabilities gave us. Kernels before 4.3 have none.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("give up ambient capabilities: %w", err)
	}
	for right := range uintptr(unix.CAP_LAST_CAP + 1) {
		if slices.Contains(keptByRoot, right) || slices.Contains(c.Rights, right) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, right, 0, 0, 0)
		if errors.Is(err, unix.EPERM) {
			return nil // without CAP_SETPCAP there is nothing that root could pass on, or we are not root
		}
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up capability %d: %w", right, err)
		}
	}
	return nil
}

// isolation is a way to part a check from us.
type isolation struct {
	what  string
	flags uintptr
	own   bool // a user namespace: our user and group are to be known in it
}

// isolations lists the ways for a check, the closest first. The last one is none.
//
// A user namespace is what lets a normal user have a network of his own. It is
// good for one more thing: nobody in it may look into pgbaton's memory and
// environment, though he is the same user.
func (c Confinement) isolations() []isolation {
	none := isolation{}
	switch {
	case os.Geteuid() == 0 && c.Network:
		return []isolation{none}
	case os.Geteuid() == 0:
		return []isolation{{what: "a network of its own", flags: syscall.CLONE_NEWNET}, none}
	case c.Network:
		return []isolation{{what: "a user namespace of its own", flags: syscall.CLONE_NEWUSER, own: true}, none}
	}
	return []isolation{
		{what: "a network of its own", flags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, own: true},
		{what: "a user namespace of its own", flags: syscall.CLONE_NEWUSER, own: true},
		none,
	}
}

// start starts what make makes, parted from us as far as the kernel allows. It
// tries again from the closest to none, for one can't tell a namespace that is
// refused from a program that is.
func (c Confinement) start(create func() *exec.Cmd) (*exec.Cmd, error) {
	if err := c.shed(); err != nil {
		return nil, err
	}
	var without []any // what the kernel did not give, and why
	for ways := c.isolations(); ; ways = ways[1:] {
		way, last := ways[0], len(ways) == 1
		cmd := create()
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // our thread lives as long as it may
		cmd.SysProcAttr.Cloneflags = way.flags
		if way.own {
			uid, gid := os.Geteuid(), os.Getegid()
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		}
		err := startWithout(cmd)
		var no syscall.Errno
		if last || !errors.As(err, &no) || errors.Is(err, fs.ErrNotExist) {
			if err == nil && len(without) > 0 && c.Debug != nil {
				c.Debug("the kernel does not give a check all that would keep it apart", without...)
			}
			return cmd, err // it runs, or no other way would help
		}
		without = append(without, way.what, err)
	}
}
