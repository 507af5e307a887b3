package haproxy

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/pgbaton/pgbaton/reload"
)

const (
	lookup  = 2 * time.Second  // how long the look for an address of a name may take
	nameAge = 10 * time.Second // how long what was found of a leader counts: it is asked for all the time
)

// lookedUp is what a name was found to be.
type lookedUp struct {
	addrs []netip.Addr
	at    time.Time
}

// lookUp returns the addresses of a leader. A name that can't be looked up any more
// is what it was: name servers too fail when something is wrong.
func (d *daemon) lookUp(ctx context.Context, leader []reload.Address) []netip.AddrPort {
	ctx, cancel := context.WithTimeout(ctx, lookup)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []netip.AddrPort
	for _, l := range leader {
		if a, err := netip.ParseAddr(l.Host); err == nil {
			all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(l.Port)))
			continue
		}
		found := d.names[l.Host]
		if time.Since(found.at) > nameAge {
			found.at = time.Now()
			if addrs := addresses(ctx, l.Host); len(addrs) > 0 {
				found.addrs = addrs
			}
			d.names[l.Host] = found
		}
		for _, a := range found.addrs {
			all = append(all, netip.AddrPortFrom(a, uint16(l.Port)))
		}
	}
	return all
}

// addresses are those of a name or of an address; none if it has none.
func addresses(ctx context.Context, host string) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found
}
