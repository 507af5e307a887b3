// Package dial makes connections that notice when their peer is gone.
package dial

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Prompt returns a dialer whose connections find a peer that vanished without a word in
// about four seconds, though nothing is said on them: a store is silent by nature while
// nothing changes.
func Prompt() *net.Dialer {
	return &net.Dialer{
		Timeout: 2 * time.Second,
		Control: userTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 2,
		},
	}
}

// userTimeout ends a connection whose data nobody acknowledges: keepalive does
// not look while any is under way.
func userTimeout(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	control := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(4*time.Second/time.Millisecond))
	})
	return errors.Join(control, err)
}
