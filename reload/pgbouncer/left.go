package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// resolving limits how long the name of a server left may take to resolve.
const resolving = time.Second

// leadsBack says whether a row of SHOW SERVERS is a connection to a server left.
func (c *cut) leadsBack(r row) bool {
	if r["addr"] == "unix" {
		return slices.ContainsFunc(c.left, func(a reload.Address) bool {
			return filepath.IsAbs(a.Host) && strconv.Itoa(a.Port) == r["port"]
		})
	}
	at, err := endpoint(r["addr"], r["port"])
	return err == nil && slices.Contains(c.from, at)
}

// resolve finds what SHOW SERVERS calls the servers at these addresses. What
// pgbouncer itself resolved helps where a name has gone with its server.
func (s *session) resolve(ctx context.Context, left []reload.Address) ([]netip.AddrPort, error) {
	var found []netip.AddrPort
	var errs []error
	var cached []row
	for _, a := range left {
		if filepath.IsAbs(a.Host) {
			continue
		}
		if ip, err := netip.ParseAddr(a.Host); err == nil {
			found = append(found, netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)))
			continue
		}
		if cached == nil {
			cached, _ = s.run(ctx, "SHOW DNS_HOSTS")
		}
		before := len(found)
		for _, r := range cached {
			if strings.EqualFold(r["hostname"], a.Host) {
				for _, text := range strings.Split(r["addrs"], ",") {
					if at, err := endpoint(text, strconv.Itoa(a.Port)); err == nil {
						found = append(found, at)
					}
				}
			}
		}
		bounded, cancel := context.WithTimeout(ctx, resolving)
		ips, err := net.DefaultResolver.LookupNetIP(bounded, "ip", a.Host)
		cancel()
		for _, ip := range ips {
			found = append(found, netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)))
		}
		if err != nil && len(found) == before {
			errs = append(errs, hint.Wrap(fmt.Errorf("resolve server left: %w", err), "IP addresses need no resolver"))
		}
	}
	return found, errors.Join(errs...)
}

// endpoint is an address as a console prints it: IPv6 without brackets.
func endpoint(addr, port string) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(strings.Trim(strings.TrimSpace(addr), "[]"))
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), err
}
