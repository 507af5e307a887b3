package pgbouncer

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// destroySocket has the kernel end a TCP connection, as `ss -K` does: whoever
// waits for it is told at once. It needs CAP_NET_ADMIN, and is for sockets of
// this network namespace.
//
// The request is written out here, for netlink.SocketDestroy knows IPv4 alone.
func destroySocket(local, remote netip.AddrPort) error {
	family := byte(unix.AF_INET6)
	if local.Addr().Is4() {
		family = unix.AF_INET
	}
	b := make([]byte, 56) // struct inet_diag_req_v2
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], 0xffffffff) // in any state
	binary.BigEndian.PutUint16(b[8:], local.Port())
	binary.BigEndian.PutUint16(b[10:], remote.Port())
	copy(b[12:28], local.Addr().AsSlice())
	copy(b[28:44], remote.Addr().AsSlice())
	// At 44 the interface, 0 for any; then the cookie of the socket, which is not known.
	binary.NativeEndian.PutUint32(b[48:], nl.TCPDIAG_NOCOOKIE)
	binary.NativeEndian.PutUint32(b[52:], nl.TCPDIAG_NOCOOKIE)
	request := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	request.AddRawData(b)
	_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}
