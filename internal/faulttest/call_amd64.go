package faulttest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Call is a system call that changes something outside the program: a file, a
// socket, another process.
type Call struct {
	Name string
	Path string // what it is about, "socket" for any of those; of a rename the name of before
	To   string // of a rename or link, the name to come
	Size int    // of a write, in bytes
}

func (c Call) String() string {
	s := strings.TrimSpace(c.Name + " " + c.Path)
	if c.To != "" {
		s += " to " + c.To
	}
	return s
}

// read tells which Call a thread is about to make, and whether it is one.
func read(tid int, regs *syscall.PtraceRegs) (c Call, changes bool) {
	// In the order of a call's arguments.
	args := [...]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}
	file := func() string { return opened(tid, args[0]) }
	name := func(i int) string { return at(tid, args[i], args[i+1]) }
	switch regs.Orig_rax {
	case unix.SYS_OPENAT:
		c = Call{Name: "openat", Path: name(0)}
		return c, args[2]&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_CREAT) != 0 && !strings.HasPrefix(c.Path, "/dev/")
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_SENDTO:
		c = Call{Name: "write", Path: file(), Size: int(args[2])}
		// The runtime wakes itself by these.
		return c, !strings.HasPrefix(c.Path, "anon_inode:") && !strings.HasPrefix(c.Path, "pipe:")
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return Call{Name: "fsync", Path: file()}, true
	case unix.SYS_FTRUNCATE:
		return Call{Name: "ftruncate", Path: file()}, true
	case unix.SYS_FCHMOD:
		return Call{Name: "fchmod", Path: file()}, true
	case unix.SYS_FCHOWN:
		return Call{Name: "fchown", Path: file()}, true
	case unix.SYS_FLOCK:
		return Call{Name: "flock", Path: file()}, true
	case unix.SYS_CONNECT:
		return Call{Name: "connect", Path: file()}, true
	case unix.SYS_FCHMODAT:
		return Call{Name: "fchmodat", Path: name(0)}, true
	case unix.SYS_FCHOWNAT:
		return Call{Name: "fchownat", Path: name(0)}, true
	case unix.SYS_MKDIRAT:
		return Call{Name: "mkdirat", Path: name(0)}, true
	case unix.SYS_UNLINKAT:
		return Call{Name: "unlinkat", Path: name(0)}, true
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return Call{Name: "renameat", Path: name(0), To: name(2)}, true
	case unix.SYS_LINKAT:
		return Call{Name: "linkat", Path: name(0), To: name(2)}, true
	case unix.SYS_SYMLINKAT:
		return Call{Name: "symlinkat", Path: text(tid, args[0]), To: name(1)}, true
	case unix.SYS_KILL:
		// Signal 0 asks whether a process is there.
		return Call{Name: "kill", Path: strconv.Itoa(int(int32(args[0])))}, args[1] != 0 //nolint:gosec // a pid is 32 bits, and may be negative
	case unix.SYS_PIDFD_SEND_SIGNAL:
		return Call{Name: "kill", Path: file()}, args[1] != 0
	case unix.SYS_CLONE:
		return Call{Name: "fork"}, args[0]&syscall.CLONE_VFORK != 0
	}
	return Call{}, false
}

// opened is the name of an open file.
func opened(tid int, fd uint64) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, fd))
	if err != nil || strings.HasPrefix(name, "socket:") {
		return "socket"
	}
	return name
}

// at is the path that a folder and the address of a name come to.
func at(tid int, folder, address uint64) string {
	name := text(tid, address)
	if filepath.IsAbs(name) {
		return name
	}
	from := fmt.Sprintf("/proc/%d/cwd", tid)
	if int32(folder) != unix.AT_FDCWD { //nolint:gosec // a descriptor is 32 bits
		from = fmt.Sprintf("/proc/%d/fd/%d", tid, folder)
	}
	dir, err := os.Readlink(from)
	if err != nil {
		return name
	}
	return filepath.Join(dir, name)
}

// text reads a string that ends with a NUL.
func text(tid int, address uint64) string {
	b := make([]byte, unix.PathMax)
	n, _ := syscall.PtracePeekText(tid, uintptr(address), b)
	if end := bytes.IndexByte(b[:n], 0); end >= 0 {
		return string(b[:end])
	}
	return string(b[:n])
}
