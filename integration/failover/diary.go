package failover

import (
	"slices"
	"sync"
	"time"
)

// ack is a write that was acknowledged. A row's sequence number is unique for
// its writer: a write that failed is never tried again under the same one.
type ack struct {
	at   time.Time
	seq  int
	port int // of the server that took it
}

// failure is a write or a login that failed.
type failure struct {
	at    time.Time
	class string
}

// diary is what one writer lived through. The writer adds to it while others
// look.
type diary struct {
	mu       sync.Mutex
	acks     []ack
	failures []failure
}

func (d *diary) acknowledged(a ack) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acks = append(d.acks, a)
}

func (d *diary) failed(f failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = append(d.failures, f)
}

// copied is the diary as it stands.
func (d *diary) copied() ([]ack, []failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.acks), slices.Clone(d.failures)
}

// last is the time of the last write that was acknowledged; zero if none was.
func (d *diary) last() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.acks) == 0 {
		return time.Time{}
	}
	return d.acks[len(d.acks)-1].at
}
