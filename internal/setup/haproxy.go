package setup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

// masterSockets are where haproxy's master socket may be: Debian's place first.
var masterSockets = []string{"/run/haproxy-master.sock", "/run/haproxy/master.sock", "/run/haproxy/haproxy-master.sock"}

// haproxy writes the target of HAProxy, if there is to be one.
func (m *maker) haproxy() error {
	if m.HAProxy == "" {
		return nil
	}
	path := locate(m.HAProxy, "haproxy.cfg")
	present, err := haproxy.Read(path)
	found := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "run it as root or as haproxy's user")
	}
	m.target(`"haproxy" "lb"`, "haproxy.cfg", file{path, "", "0644"}, found)

	var vars given
	known := varsOf("haproxy.cfg")
	add := func(name string, value any, text string) {
		if text != "" && text != "0" && !known[name].isDefault(text) {
			vars.add(name, value, "from "+path)
		}
	}
	add("read_write_port", present.ReadWrite, literal(present.ReadWrite))
	add("read_only_port", present.ReadOnly, literal(present.ReadOnly))
	add("listen_address", present.Address, present.Address)
	add("log", present.Log, present.Log)
	add("stats_socket", present.StatsSocket, present.StatsSocket)
	add("stats_listen", present.StatsListen, present.StatsListen)
	add("user", present.User, present.User)
	add("group", present.Group, present.Group)
	if found && present.ReadWrite > 0 && present.ReadOnly == 0 {
		vars.add("read_only_port", 0, path+" has no port for the replicas")
	}
	socket, why := m.masterSocket(path)
	if found && present.Log == "" {
		vars.add("log", "", path+" does not say")
	}
	if _, err := os.Stat(filepath.Dir(known["stats_socket"].fallback)); found && present.StatsSocket == "" && err != nil {
		vars.add("stats_socket", filepath.Join(filepath.Dir(socket), "admin.sock"), "guessed: beside the master socket")
	}
	if found && present.User == "" {
		vars.add("user", "", path+" does not say")
		vars.add("group", present.Group, path+" does not say")
	}
	vars.write(&m.page, nil, "")
	if present.Others > 0 {
		m.need("%s has %d sections (listen, frontend, backend) that are not of this cluster, and that are not carried over: put them into the var extra, or into a second file of haproxy's", path, present.Others)
	}

	if m.User != "root" && ownerOf(socket) != m.User && !sharedWith(socket, m.User) {
		m.need("the user %s has to be able to use HAProxy's master socket: -S %s,mode,660,group,%s in EXTRAOPTS of /etc/default/haproxy", m.User, socket, groupOf(m.User))
	}
	m.gap()
	m.set("master_socket", socket, why)
	m.set("hold", true, "new sessions wait while the leader changes, instead of failing")
	m.close()
	return nil
}

// masterSocket is where haproxy's master is told to reload.
func (m *maker) masterSocket(path string) (socket, why string) {
	processes := running("haproxy", path)
	for _, p := range processes {
		if socket, _, _ := strings.Cut(p.after("-S"), ","); socket != "" {
			return strings.TrimPrefix(socket, "unix@"), "that of the haproxy that runs"
		}
	}
	if i := slices.IndexFunc(masterSockets, isSocket); i >= 0 && len(processes) == 0 {
		return masterSockets[i], "guessed: it is there"
	}
	if len(processes) > 0 {
		m.need("haproxy runs without a master socket: start it with -W -S %s, as Debian's unit does", masterSockets[0])
		return masterSockets[0], "guessed: the haproxy that runs has none"
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		m.need("install haproxy, and start it with -W -S %s, as Debian's unit does", masterSockets[0])
	}
	return masterSockets[0], "guessed: where Debian's unit has it"
}
