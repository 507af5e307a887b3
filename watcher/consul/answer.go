package consul

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher"
)

// largest is how many bytes an answer may have: whole catalogs are smaller, and
// what never ends must not take the memory of the machine.
const largest = 64 << 20

// limited cuts answers that are too large.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: largest}
	}
	return resp, err
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("its answer is larger than %d MiB", largest>>20)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// believed is an error for an answer that can't be the store's present state: of
// a server that knows no leader, or is not the leader though that was asked for,
// or of somebody else in Consul's place.
func believed(q watcher.Query, after uint64, meta *api.QueryMeta) error {
	switch {
	case q.Kind == watcher.CALeaf:
		return nil // the agent's own
	case after != 0 && (q.Kind == watcher.Service || q.Kind == watcher.Connect):
		return nil // out of a stream of changes, which tells nothing of a leader
	case !meta.KnownLeader:
		return hint.Wrap(errors.New("whoever answers knows no leader of the Consul servers"),
			"see consul operator raft list-peers; a proxy in between has to hand on Consul's headers")
	case (q.Kind == watcher.Key || q.Kind == watcher.Prefix) && meta.LastContact > 0:
		return hint.Wrap(fmt.Errorf("the answer is stale: of a server that heard from the leader %v ago", meta.LastContact),
			"see consul operator raft list-peers")
	}
	return nil
}

// whole is an error for a list with holes, which is none of Consul's.
func whole[T any](list []*T) error {
	if slices.Contains(list, nil) {
		return errHole
	}
	return nil
}

var errHole = errors.New("its answer has a null where something has to be")
