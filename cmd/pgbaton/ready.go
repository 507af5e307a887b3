package main

import (
	"slices"
	"strings"
	"time"
)

// begin tells systemd that we are ready: at once, or, with a limit, once all files
// are in place. What is ordered after pgbaton starts then, and never reads the files
// of before the boot. A store that is away holds nothing up for longer than the limit.
func (d *daemon) begin(limit time.Duration) {
	if limit <= 0 {
		d.notify.ready(d.status())
		return
	}
	d.late = time.After(limit)
	d.filesPlaced()
}

// filesPlaced looks whether what was waited for is there.
func (d *daemon) filesPlaced() {
	if d.late == nil || len(d.unplaced()) > 0 {
		return
	}
	d.late = nil
	d.notify.ready(d.status())
}

// tellReloaded ends a reload. It makes nothing ready that was not.
func (d *daemon) tellReloaded() {
	if d.late == nil {
		d.notify.ready(d.status())
	}
}

// filesLate gives up waiting for files.
func (d *daemon) filesLate() {
	d.late = nil
	d.log.Warn("ready, but files are as they were before", "targets", strings.Join(d.unplaced(), ", "))
	d.notify.ready(d.status())
}

// unplaced are the targets whose files on disk are not the wanted ones. A frozen one
// keeps its own. Whether a daemon follows does not count: it may not run yet.
func (d *daemon) unplaced() []string {
	var out []string
	for _, loop := range d.loops {
		if s := loop.State(); s.Freeze == nil && (s.Wanted == "" || s.Committed != s.Wanted) {
			out = append(out, s.ID)
		}
	}
	slices.Sort(out)
	return out
}
