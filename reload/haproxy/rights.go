package haproxy

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// refusing is how long a check waits for a master that reloads.
const refusing = 500 * time.Millisecond

// rights are those of the HAProxy that listens, if pgbaton has more. A check
// loads what the config names, Lua included, and must not do so with rights that
// the daemon lacks. Nil is pgbaton's own, also if there is no HAProxy yet to take them from.
func (m master) rights(ctx context.Context) *syscall.Credential {
	if m.path == "" || os.Geteuid() != 0 {
		return nil
	}
	// A reload closes the socket for a moment.
	for end := time.Now().Add(refusing); ; {
		peer, err := m.peer(ctx)
		if err == nil && peer.Uid != 0 {
			return &syscall.Credential{Uid: peer.Uid, Gid: peer.Gid}
		}
		if err == nil || !passing(err) || time.Now().After(end) || !pause(ctx) {
			return nil
		}
	}
}

// peer is whom the kernel knows as the one that opened the socket.
func (m master) peer(ctx context.Context) (*syscall.Ucred, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", m.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *syscall.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		peer, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	return peer, errors.Join(err, asked)
}
