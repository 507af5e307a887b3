package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// bind is one TCP address that a config listens at.
type bind struct {
	addr   netip.AddrPort
	v6only bool
	at     string // FILE:LINE
}

// binds reads a line `bind ADDRESS,… …`. Sockets of files, port ranges, names
// and listeners that reach outside this network namespace are left out: nothing
// can be said of them beforehand.
func binds(words []string, at string) []bind {
	for _, special := range []string{"namespace", "interface", "transparent"} {
		if slices.Contains(words[2:], special) {
			return nil
		}
	}
	var all []bind
	for text := range strings.SplitSeq(words[1], ",") {
		v6 := strings.HasPrefix(text, "ipv6@")
		host, port, ok := hostPort(text)
		if !ok {
			continue
		}
		if host == "*" || host == "" {
			host = "0.0.0.0"
			if v6 {
				host = "::"
			}
		}
		if a, err := netip.ParseAddr(host); err == nil {
			all = append(all, bind{netip.AddrPortFrom(a, uint16(port)), !slices.Contains(words[2:], "v4v6"), at})
		}
	}
	return all
}

// free looks whether a reload can bind what the new config listens at. It tries
// only to bind, not to listen, so that no client is taken from anyone. Whatever
// can't be told is left to the reload.
func (d *daemon) free(ctx context.Context, p processes, want []bind) error {
	type problem struct {
		bind
		why error
	}
	var problems []problem
	for _, b := range want {
		if err := b.try(); errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			problems = append(problems, problem{b, err})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	own := map[uint16]bool{}
	for pid := range p.workers {
		if err := d.listens(ctx, pid, own); err != nil {
			return nil //nolint:nilerr // it can't be told
		}
	}
	if !near(own) {
		return nil
	}
	for _, b := range problems {
		if own[b.addr.Port()] && errors.Is(b.why, syscall.EADDRINUSE) {
			continue
		}
		return hint.Wrap(fmt.Errorf("reload haproxy: it could not listen at %s (%s), so it is left as it is: %w", b.addr, b.at, b.why),
			"see who listens there (ss -ltnp), or correct the address; pgbaton tries again")
	}
	return nil
}

// listens adds the ports that a worker listens at, from a list of its file
// descriptors.
func (d *daemon) listens(ctx context.Context, worker int, own map[uint16]bool) error {
	c, err := d.master.talk(ctx, worker)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.each("show fd", func(line string) {
		if !strings.Contains(line, " l.st=") {
			return
		}
		for _, word := range strings.Fields(line) {
			if port, is := strings.CutPrefix(word, "lport="); is {
				if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
					own[uint16(n)] = true
				}
			}
		}
	})
}

// near says whether HAProxy is in pgbaton's network namespace: only then are its
// own ports taken here.
func near(own map[uint16]bool) bool {
	for port := range own {
		for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			if errors.Is(bind{addr: netip.AddrPortFrom(any, port), v6only: true}.try(), syscall.EADDRINUSE) {
				return true
			}
		}
	}
	return false
}

// try binds a socket and closes it. That fails if somebody listens, and passes
// over connections that are about to end.
func (b bind) try() error {
	family, to := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: int(b.addr.Port()), Addr: b.addr.Addr().As16()})
	if b.addr.Addr().Is4() {
		family, to = syscall.AF_INET, &syscall.SockaddrInet4{Port: int(b.addr.Port()), Addr: b.addr.Addr().As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family == syscall.AF_INET6 {
		only := 0
		if b.v6only {
			only = 1
		}
		if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	return syscall.Bind(fd, to)
}
