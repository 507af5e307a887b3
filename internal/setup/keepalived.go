package setup

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload/keepalived"
)

// keepalived writes the target of keepalived, if there is to be one.
func (m *maker) keepalived() error {
	if m.Keepalived == "" {
		return nil
	}
	path := locate(m.Keepalived, "keepalived.conf")
	present, err := keepalived.Read(path)
	found := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "run it as root")
	}
	vars, err := m.vrrp(path, present, found)
	if err != nil {
		return err
	}
	m.target(`"keepalived" "vip"`, "keepalived.conf", file{path, "", "0644"}, found)
	vars.write(&m.page, nil, "")
	if present.Secret {
		m.gap()
		m.say("%s has an auth_pass, which is not copied. The other machine ignores this one without it: add auth_pass to vars, or take it away there.", path)
		m.need("the password of VRRP in %s is not copied: until it is in vars, or gone on the other machine too, both machines take the address", path)
	}
	if present.Instances > 1 {
		m.need("%s has %d instances; the first alone is carried over: put the others into the var extra", path, present.Instances)
	}
	m.close()
	return nil
}

// vrrp are the vars of the template: what an instance says, or what was asked for.
func (m *maker) vrrp(path string, present keepalived.Present, found bool) (vars given, err error) {
	known := varsOf("keepalived.conf")
	for name, text := range present.Settings {
		if v, has := known[name]; has && name != "nopreempt" && !v.isDefault(text) {
			if typed, ok := v.value(text); ok {
				vars.add(name, typed, "from "+path)
			}
		}
	}
	for name, list := range present.Lists {
		vars.add(name, list, "from "+path)
	}
	if _, keeps := present.Settings["nopreempt"]; present.Instances > 0 && !keeps {
		vars.add("nopreempt", false, path+" does not say nopreempt")
	}
	if m.Address != "" {
		vars.add("virtual_ipaddress", []string{m.Address}, "")
	}
	if m.Interface != "" {
		vars.add("interface", m.Interface, "")
	}
	addresses, _ := vars.values["virtual_ipaddress"].([]string)
	if len(addresses) == 0 {
		what := "is not there"
		if found {
			what = "has no virtual_ipaddress"
		}
		return vars, hint.Wrap(fmt.Errorf("keepalived's config %s %s", path, what), "name the address that moves: -address 192.0.2.10/24")
	}
	if vars.values["interface"] == nil {
		name := interfaceOf(addresses[0])
		if name == "" {
			return vars, hint.Wrap(fmt.Errorf("no interface of this machine has a network with %s in it", addresses[0]), "name the interface that gets it: -interface eth0")
		}
		vars.add("interface", name, "guessed: its network has the address")
	}
	if m.HAProxy == "" && m.PgBouncer != "" {
		vars.add("check", "/usr/bin/pgrep -x pgbouncer", "guessed: pgbouncer is what the address is for")
	}
	return vars, nil
}
