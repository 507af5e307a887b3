package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// maxPIDFile is how much of a PID file is read, in bytes: enough for those
// that go on after the first line, as PostgreSQL's does.
const maxPIDFile = 4 << 10

// recycledAfter is how much older than its process a PID file may look. A
// daemon writes the file after its own start; clocks and slow starts blur that.
const recycledAfter = 10 * time.Second

// PIDFile is where a daemon left its process ID.
type PIDFile struct {
	Path string

	// Names are the names that the process may have in /proc/PID/comm. With
	// none, the age of the file is compared with that of the process instead:
	// a file much older than its process tells of one that is gone and whose
	// number was given out again.
	Names []string
}

// Find returns the process that the file names, once it is sure to be the
// daemon's as far as that can be seen. The caller closes it.
func (f PIDFile) Find() (*Running, error) {
	pid, written, err := f.read()
	if err != nil {
		return nil, fmt.Errorf("read pid file %s: %w", f.Path, err)
	}
	if pid <= 1 || pid == os.Getpid() {
		return nil, hint.Wrap(fmt.Errorf("read pid file %s: %d is not a daemon to signal", f.Path, pid),
			"see what writes this file; pgbaton never signals process 1 or itself")
	}
	gone := hint.Wrap(fmt.Errorf("find process %d of pid file %s: it does not exist", pid, f.Path),
		"start the daemon, or correct pid_file; a daemon that was killed leaves its old file behind")

	// From here on the handle stands for this very process: should it end, no
	// signal can reach another that got its number.
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil, gone
	}
	r := &Running{PID: pid, process: p}
	if err := f.verify(r, written); err != nil {
		r.Close()
		if errors.Is(err, os.ErrProcessDone) {
			return nil, gone
		}
		return nil, err
	}
	return r, nil
}

func (f PIDFile) verify(r *Running, written time.Time) error {
	st, err := r.stat()
	if err != nil {
		return err
	}
	// The handle was open before stat was read, so if it still stands then stat
	// was the same process's. Not being allowed to signal it comes out later.
	if err := r.process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if len(f.Names) > 0 {
		if slices.ContainsFunc(f.Names, func(n string) bool { return comm(n) == st.comm }) {
			return nil
		}
		return hint.Wrap(fmt.Errorf("find process %d of pid file %s: it is %q, not %s",
			r.PID, f.Path, st.comm, strings.Join(f.Names, " or ")),
			"the file is stale or another daemon's: correct pid_file, or restart the daemon")
	}
	if fileAge := time.Since(written); fileAge > st.age+recycledAfter {
		return hint.Wrap(fmt.Errorf("find process %d of pid file %s: %q started %v after the file was written",
			r.PID, f.Path, st.comm, (fileAge-st.age).Round(time.Second)),
			"the number was given out again: restart the daemon; if it is the right process, set process = %q", st.comm)
	}
	return nil
}

func (f PIDFile) read() (pid int, written time.Time, err error) {
	// Without O_NONBLOCK a FIFO in the file's place would wait for its writer.
	file, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = hint.Wrap(err, "start the daemon, or correct pid_file")
		}
		return 0, written, withoutPath(err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return 0, written, err
	}
	if !info.Mode().IsRegular() {
		return 0, written, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxPIDFile))
	if err != nil {
		return 0, written, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	text := strings.TrimSpace(string(line))
	if text == "" {
		return 0, written, errors.New("it is empty")
	}
	pid, err = strconv.Atoi(text)
	if err != nil {
		return 0, written, fmt.Errorf("%.40q is no process id", text)
	}
	return pid, info.ModTime(), nil
}

// withoutPath drops the path that the os package puts into its errors, for
// messages that name it already. The hint of err is kept.
func withoutPath(err error) error {
	var pe *os.PathError
	if !errors.As(err, &pe) {
		return err
	}
	if h := hint.Of(err); h != "" {
		return hint.Wrap(pe.Err, "%s", h)
	}
	return pe.Err
}
