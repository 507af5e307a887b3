package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// notifier tells systemd how we are. Without NOTIFY_SOCKET it tells nobody.
type notifier struct {
	log     hclog.Logger
	last    string
	tickers []*time.Ticker
}

func newNotifier(log hclog.Logger) *notifier { return &notifier{log: log} }

func (n *notifier) send(lines ...string) {
	if _, err := systemd.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		n.log.Warn("notify systemd", "error", err)
	}
}

func (n *notifier) ready(status string) {
	n.last = status
	n.send(systemd.SdNotifyReady, "STATUS="+status)
}

func (n *notifier) status(status string) {
	if status != n.last {
		n.last = status
		n.send("STATUS=" + status)
	}
}

// reloading carries the time on the monotonic clock, which systemd wants in
// the same datagram.
func (n *notifier) reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.log.Warn("read monotonic clock", "error", err)
	}
	n.send(systemd.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

func (n *notifier) stopping() { n.send(systemd.SdNotifyStopping) }
func (n *notifier) alive()    { n.send(systemd.SdNotifyWatchdog) }

// watchdog ticks at half the interval that systemd waits; nil, and so never,
// without a watchdog.
func (n *notifier) watchdog() <-chan time.Time {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("read watchdog interval", "error", err)
	}
	if err != nil || interval <= 0 {
		return nil
	}
	return n.every(interval / 2)
}

// again ticks when the status is to be looked at again: not everything in it tells when
// it changes. It never does if nobody hears it.
func (n *notifier) again() <-chan time.Time {
	if !n.heard() {
		return nil
	}
	return n.every(5 * time.Second)
}

// heard says whether anybody listens.
func (n *notifier) heard() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

func (n *notifier) every(interval time.Duration) <-chan time.Time {
	t := time.NewTicker(interval)
	n.tickers = append(n.tickers, t)
	return t.C
}

func (n *notifier) close() {
	for _, t := range n.tickers {
		t.Stop()
	}
}
