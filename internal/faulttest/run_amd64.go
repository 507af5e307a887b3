package faulttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Fault is what is done to a call. The zero Fault is nothing.
type Fault struct {
	Kill  bool          // the program is killed as it enters the call
	Errno syscall.Errno // the call is not made, and returns this
}

// Result is what became of a program.
type Result struct {
	Calls  []Call // as they were begun, those of all threads in one order
	Hit    []Call // those that a fault was done to
	Status syscall.WaitStatus
	Output string // both its outputs
}

// Run runs a program to its end. before is asked for the fault of each Call as the
// program enters it, n counts from 0. Programs that it starts in turn are left
// alone, and may outlive it.
func Run(cmd *exec.Cmd, before func(n int, c Call) Fault) (Result, error) {
	out, err := os.CreateTemp("", "pgbaton-output-")
	if err != nil {
		return Result{}, err
	}
	defer func() { _, _ = os.Remove(out.Name()), out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	t := tracer{before: before, output: out.Name(), threads: map[int]*thread{}}
	done := make(chan error)
	go func() {
		// Only the thread that started a program may trace it. It ends with this
		// goroutine: a thread that waited for its own children is not used again.
		runtime.LockOSThread()
		done <- t.run(cmd)
	}()
	if err := <-done; err != nil {
		return t.result, fmt.Errorf("trace %s: %w", cmd.Path, err)
	}
	content, err := os.ReadFile(out.Name())
	t.result.Output = string(content)
	return t.result, err
}

type tracer struct {
	before  func(n int, c Call) Fault
	output  string // writes to it are no Call
	pid     int
	threads map[int]*thread
	result  Result
}

// thread is what is known of a traced thread.
type thread struct {
	inside bool          // in a call that it has entered
	errno  syscall.Errno // what that call is to return; 0 is its own result
}

func (t *tracer) run(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	t.pid = cmd.Process.Pid
	defer func() { _ = cmd.Process.Release() }()
	defer func() { _ = syscall.Kill(t.pid, syscall.SIGKILL) }()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &status, syscall.WALL, nil); err != nil {
		return err
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(t.pid, options); err != nil {
		return err
	}
	tid, signal := t.pid, 0
	for {
		// A thread that was killed meanwhile is no error: it is waited for like all others.
		if err := syscall.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		var err error
		if tid, err = wait(&status); err != nil {
			return err
		}
		for status.Exited() || status.Signaled() {
			delete(t.threads, tid)
			if tid == t.pid {
				t.result.Status = status
				return nil
			}
			if tid, err = wait(&status); err != nil {
				return err
			}
		}
		if signal, err = t.stopped(tid, status); err != nil {
			return err
		}
	}
}

// wait waits for any thread that is traced by this one, and for no other child
// of the test.
func wait(status *syscall.WaitStatus) (int, error) {
	for {
		tid, err := syscall.Wait4(-1, status, syscall.WALL|syscall.WNOTHREAD, nil)
		if !errors.Is(err, syscall.EINTR) {
			return tid, err
		}
	}
}

// stopped looks at a thread that stopped, and returns the signal that it goes on
// with.
func (t *tracer) stopped(tid int, status syscall.WaitStatus) (signal int, err error) {
	th, known := t.threads[tid]
	if !known {
		th = &thread{}
		t.threads[tid] = th
		if tid != t.pid && status.StopSignal() == syscall.SIGSTOP {
			return 0, nil // a new thread begins with this
		}
	}
	const call = syscall.SIGTRAP | 0x80
	switch status.StopSignal() {
	case call:
		if th.inside {
			return 0, t.leave(tid, th)
		}
		return 0, t.enter(tid, th)
	case syscall.SIGTRAP:
		return 0, nil // it made a thread
	default:
		return int(status.StopSignal()), nil
	}
}

func (t *tracer) enter(tid int, th *thread) error {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
		return ignoreGone(err)
	}
	th.inside = true
	c, changes := read(tid, &regs)
	if !changes || c.Path == t.output {
		return nil
	}
	fault := t.before(len(t.result.Calls), c)
	t.result.Calls = append(t.result.Calls, c)
	if fault != (Fault{}) {
		t.result.Hit = append(t.result.Hit, c)
	}
	switch {
	case fault.Kill:
		return syscall.Kill(t.pid, syscall.SIGKILL)
	case fault.Errno != 0:
		th.errno = fault.Errno
		regs.Orig_rax = ^uint64(0) // no such call
		return ignoreGone(syscall.PtraceSetRegs(tid, &regs))
	}
	return nil
}

func (t *tracer) leave(tid int, th *thread) error {
	th.inside = false
	if th.errno == 0 {
		return nil
	}
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
		return ignoreGone(err)
	}
	regs.Rax = -uint64(th.errno)
	th.errno = 0
	return ignoreGone(syscall.PtraceSetRegs(tid, &regs))
}

// ignoreGone leaves out that a thread is gone: that is seen when it is waited for.
func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
