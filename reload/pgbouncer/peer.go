package pgbouncer

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// asOwner connects to a unix socket as whoever owns it, if this process is root's.
// pgbouncer lets whoever it runs as into its console, and asks everybody else for a
// password, root too; but root may be anybody, and is who types at three in the morning.
func asOwner(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		info, err := os.Stat(address)
		if network != "unix" || os.Geteuid() != 0 || err != nil {
			return dial(ctx, network, address)
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		// Of this thread alone: the kernel looks at it when it connects.
		runtime.LockOSThread()
		if owner == 0 || assume(int(owner)) != nil { // which takes CAP_SETUID
			runtime.UnlockOSThread()
			return dial(ctx, network, address)
		}
		conn, err := dial(ctx, network, address)
		if back := assume(0); back != nil {
			// The thread stays locked, and so ends with its goroutine.
			return nil, fmt.Errorf("be root again: %w", back)
		}
		runtime.UnlockOSThread()
		return conn, err
	}
}

// serverOf is the process at the other end of a unix socket; 0 is unknown.
func serverOf(conn net.Conn) (pid int32) {
	over, is := conn.(*net.UnixConn)
	if !is {
		return 0
	}
	raw, err := over.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if who, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = who.Pid
		}
	})
	return pid
}

// assume makes the thread's effective user another one, and leaves the others alone.
func assume(uid int) error {
	const same = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
		return errno
	}
	return nil
}
