//go:build amd64

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestNetwork spoils the line to Consul while the leader moves. Where nothing gets
// through the file stays as it is, and pgbaton says that the store is away; once
// the line is mended it follows. Where something does, it follows all the same.
func TestNetwork(t *testing.T) {
	link := faulttest.NewLink(t, "10.78.0")
	consul := servertest.Consul(t, fmt.Sprintf(`addresses { http = "127.0.0.1 %s" }`, link.Here))
	_, port, _ := strings.Cut(consul.Addr, ":")
	r := newKeyed(t, consul.Client, link.Here+":"+port, link.Command, keyedSettings{})
	leader := 1
	for name, fault := range map[string]struct {
		cut   bool
		spoil func(t *testing.T) (mend func())
	}{
		"black hole":   {true, func(t *testing.T) func() { return link.BlackHole(t) }},
		"one-way loss": {true, func(t *testing.T) func() { return link.OneWay(t) }},
		"reset":        {true, func(t *testing.T) func() { return link.Reset(t) }},
		"30 % loss":    {false, func(t *testing.T) func() { return link.Loss(t, 0.3) }},
		"narrow line":  {false, func(t *testing.T) func() { return link.Narrow(t, "64kbit") }},
	} {
		t.Run(name, func(t *testing.T) {
			for range rounds(t) {
				away := r.awaysSaid()
				mend := fault.spoil(t)
				if fault.cut {
					r.lead(t, 3-leader)
					r.away(t, away, leader)
					mend()
					mended := time.Now()
					leader = 3 - leader
					r.follows(t, leader)
					t.Logf("followed %v after the line was mended", time.Since(mended).Round(time.Millisecond))
					continue
				}
				for range 5 {
					leader = 3 - leader
					r.lead(t, leader)
					r.follows(t, leader)
				}
				mend()
			}
			t.Logf("injected %d times", rounds(t))
		})
	}
}
