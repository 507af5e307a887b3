// Package systemd makes a daemon follow by a job of systemd's: reload, restart,
// or whichever of them the unit can.
//
// systemd tells how the job ended. "done" means that the unit's ExecReload
// exited with 0, or that the unit has started; so the mark is as good as the
// unit's ExecReload is. It checks nothing: add a check command for that.
//
// pgbaton reaches systemd over the system bus. If it is not root, polkit has to
// allow it to manage the unit (org.freedesktop.systemd1.manage-units).
package systemd
