package systemd_test

import (
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// units are the test machine's own.
func units() map[string]string {
	const loop = "while :; do sleep 0.1; done"
	return map[string]string{
		"good.service": "[Service]\nExecStart=/bin/sh -c 'trap \"echo reload >>/run/good\" HUP; echo start >>/run/good; " + loop + "'\n" +
			"ExecReload=/bin/sh -c 'kill -HUP $MAINPID'\n",
		"bad.service":   "[Service]\nExecStart=/bin/sh -c '" + loop + "'\nExecReload=/bin/false\n",
		"slow.service":  "[Service]\nExecStart=/bin/sh -c '" + loop + "'\nExecReload=/bin/sleep 600\n",
		"plain.service": "[Service]\nExecStart=/bin/sh -c '" + loop + "'\n",
		"idle.service":  "[Service]\nExecStart=/bin/sh -c '" + loop + "'\nExecReload=/bin/true\n",
	}
}

// machine boots a machine with these units, whose system bus is that of the test
// from then on.
func machine(t *testing.T) *servertest.Machine {
	t.Helper()
	m := servertest.StartMachine(t)
	for name, content := range units() {
		servertest.File(t, m.Path("/etc/systemd/system/"+name), content, 0o644)
	}
	m.Run(t, "systemctl", "daemon-reload")
	m.Run(t, "systemctl", "start", "good", "bad", "slow", "plain")
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+m.Bus())
	return m
}
