package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// wire is a connection to a server. It remembers how it ended, and ends rather than hand
// on what is no packet of ZooKeeper's: the library believes whatever length it is told, as
// that of a page for browsers.
type wire struct {
	net.Conn

	// Of the packet that is being read.
	head [4]byte // its length
	have int     // bytes of head
	left int     // bytes of the packet that are still to come

	mu  sync.Mutex
	err error
}

// The bytes of a packet from a server.
const (
	smallest = 16 // a header
	largest  = 64 << 20
)

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if w.left == 0 {
		return w.begin(b)
	}
	n, err := w.Conn.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, w.note(err)
}

// begin reads the length of a packet.
func (w *wire) begin(b []byte) (int, error) {
	n, err := w.Conn.Read(b[:min(len(b), len(w.head)-w.have)])
	w.have += copy(w.head[w.have:], b[:n])
	if w.have == len(w.head) && err == nil {
		size := binary.BigEndian.Uint32(w.head[:])
		if size < smallest || size > largest {
			return 0, w.note(fmt.Errorf("it answers, but not as ZooKeeper does: a packet of %d bytes", size))
		}
		w.left, w.have = int(size), 0
	}
	return n, w.note(err)
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	return n, w.note(err)
}

// note keeps the first error.
func (w *wire) note(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	return err
}

// ended says how the connection ended.
func (w *wire) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err == nil:
		return errors.New("the connection ended")
	case errors.Is(w.err, io.EOF):
		return errors.New("it ended the connection")
	case errors.Is(w.err, os.ErrDeadlineExceeded):
		return errors.New("it does not answer")
	}
	return plain(w.err)
}
