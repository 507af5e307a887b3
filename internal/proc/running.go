package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// ticks is the kernel's USER_HZ, in which /proc counts time. It is 100 on every
// architecture that Go's Linux port runs on.
const ticks = 100

// Running is a process of somebody else, held so that its number cannot come
// to mean another one.
type Running struct {
	PID     int
	process *os.Process
}

// Signal sends a signal to this process and no other.
func (r *Running) Signal(sig syscall.Signal) error {
	err := r.process.Signal(sig)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrPermission):
		err = hint.Wrap(err, "run pgbaton as the daemon's user or as root")
	}
	return fmt.Errorf("send signal %v to process %d: %w", sig, r.PID, err)
}

// Alive says whether the process still runs. One that ended and waits for its
// parent to notice does not.
func (r *Running) Alive() bool {
	if errors.Is(r.process.Signal(syscall.Signal(0)), os.ErrProcessDone) {
		return false
	}
	_, err := r.stat()
	return err == nil
}

// Close lets the process go.
func (r *Running) Close() { _ = r.process.Release() }

type procStat struct {
	comm string
	age  time.Duration
}

// stat reads what the kernel knows of the process; os.ErrProcessDone if it has
// ended.
func (r *Running) stat() (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.PID))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			err = os.ErrProcessDone
		}
		return procStat{}, err
	}
	// "PID (comm) state ppid …", and comm may hold spaces and parentheses.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("read state of process %d: %.80q makes no sense", r.PID, data)
	}
	st := procStat{comm: string(data[open+1 : end])}
	fields := strings.Fields(string(data[end+1:]))
	const state, started = 0, 19
	if len(fields) <= started {
		return procStat{}, fmt.Errorf("read state of process %d: %d fields", r.PID, len(fields))
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return procStat{}, os.ErrProcessDone
	}
	begin, err := strconv.ParseInt(fields[started], 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("read start of process %d: %w", r.PID, err)
	}
	up, err := uptime()
	if err != nil {
		return procStat{}, err
	}
	st.age = up - time.Duration(begin)*(time.Second/ticks)
	return st, nil
}

// uptime is the time since boot, on the clock that /proc/PID/stat counts by.
func uptime() (time.Duration, error) {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	first, _, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// comm is how the kernel abbreviates a program's name.
func comm(name string) string {
	const most = 15
	if len(name) > most {
		return name[:most]
	}
	return name
}

// Children are the processes that this one started and that have not ended. The
// error is os.ErrNotExist in the chain if the kernel does not tell.
func (r *Running) Children() ([]int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", r.PID))
	if err != nil {
		return nil, fmt.Errorf("read children of process %d: %w", r.PID, err)
	}
	var pids []int
	for _, text := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("read children of process %d: %w", r.PID, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
