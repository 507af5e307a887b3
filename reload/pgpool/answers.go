package pgpool

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// patience is how long a server may take to say whether it speaks TLS.
const patience = time.Second

// silent asks servers for a sign of life, all at once: those of nodes that are attached or
// in also. A server that hangs accepts connections, for the kernel does, and says nothing.
func silent(ctx context.Context, nodes []node, also []step) map[int]bool {
	out := map[int]bool{}
	var all sync.WaitGroup
	var mu sync.Mutex
	for id, n := range nodes {
		if !n.attached() && !contains(also, id) {
			continue
		}
		all.Go(func() {
			if err := answers(ctx, n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				out[id] = true
			}
		})
	}
	all.Wait()
	return out
}

func contains(steps []step, id int) bool {
	for _, s := range steps {
		if s.id == id {
			return true
		}
	}
	return false
}

// answers asks a PostgreSQL server whether it speaks TLS, which it says to everybody: one
// byte, before any login.
func answers(ctx context.Context, n node) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	network, address := "tcp", net.JoinHostPort(n.host, strconv.Itoa(n.port))
	if strings.HasPrefix(n.host, "/") {
		network, address = "unix", filepath.Join(n.host, fmt.Sprintf(".s.PGSQL.%d", n.port))
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	// SSLRequest: its length, and 1234 and 5679 in the place of a version.
	if _, err := c.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}
