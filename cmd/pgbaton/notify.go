package main

import (
	"fmt"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// notifier tells systemd how we are. Without NOTIFY_SOCKET it tells nobody.
type notifier struct {
	log    hclog.Logger
	last   string
	ticker *time.Ticker
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
	n.ticker = time.NewTicker(interval / 2)
	return n.ticker.C
}

func (n *notifier) close() {
	if n.ticker != nil {
		n.ticker.Stop()
	}
}
