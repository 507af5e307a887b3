package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/status"
)

// Peer is who is at the other end of a unix socket, as the kernel says. It is the
// connection's remote address.
type Peer struct {
	UID    uint32
	Groups []uint32 // its own and the supplementary ones
}

// Network implements net.Addr.
func (Peer) Network() string { return "unix" }

// String is the user's name.
func (p Peer) String() string { return UserName(int(p.UID)) }

// UserName is the name of a user, or its number if it has none.
func UserName(id int) string {
	if u, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", id)
}

// Named is who gives a word: a user and, if that is root, whoever became it by sudo.
func Named(id int, sudo string) string {
	if sudo = status.OneLine(sudo); id == 0 && sudo != "" {
		return UserName(id) + ", via sudo by " + sudo
	}
	return UserName(id)
}

// may says whether the peer may change something: root, the user with the ID self, and
// members of a group.
func (p Peer) may(self int, group *Group) bool {
	return p.UID == 0 || int(p.UID) == self || group != nil && slices.ContainsFunc(p.Groups, func(g uint32) bool { return int(g) == group.ID })
}

// peerOf asks the kernel who connected.
func peerOf(c *net.UnixConn) (p Peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed == nil {
			p.UID, p.Groups = cred.Uid, []uint32{cred.Gid}
			var more []uint32
			more, failed = peerGroups(fd)
			p.Groups = append(p.Groups, more...)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return Peer{}, fmt.Errorf("ask who connected: %w", err)
	}
	return p, nil
}

// peerGroups are the supplementary groups of whoever connected, as they were then: what
// the user's groups are now is another question, and needs a directory to answer.
func peerGroups(fd uintptr) ([]uint32, error) {
	for size := uint32(64); ; {
		buf := make([]byte, 4*size)
		length := uint32(len(buf)) //nolint:gosec // at most 256 KiB
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&length)), 0) //nolint:gosec // unix has no call for it
		switch {
		case errors.Is(errno, syscall.ERANGE) && length > 4*size && length <= 4<<16: // NGROUPS_MAX
			size = length / 4
			continue
		case errno != 0:
			return nil, errno
		}
		groups := make([]uint32, length/4)
		for i := range groups {
			groups[i] = binary.NativeEndian.Uint32(buf[4*i:])
		}
		return groups, nil
	}
}
