package setup

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
)

// Wish is what is to be in a config.
type Wish struct {
	Scope       string // Patroni's; "" is that of PatroniFile
	PatroniFile string // Patroni's own config; "" is none
	Namespace   string // Patroni's; "" is that of PatroniFile, else service
	Consul      string // address; "" is that of PatroniFile, else the agent of this machine
	Etcd        string // endpoints, separated by commas; "" is those of PatroniFile
	ZooKeeper   string // hosts, separated by commas; "" is those of PatroniFile

	// The folder of a daemon's config, or the config; "" is without that daemon.
	PgBouncer, HAProxy, Keepalived string

	Address   string // virtual address of keepalived; "" is that of its config
	Interface string // which gets Address; "" is that of its config, else whose network has it
	User      string // whom pgbaton runs as; "" is who runs this, or pgbouncer's user if that is root
}

// Config is a config, and what it needs that is not there yet.
type Config struct {
	Text  string
	Files []File   // templates that it names, beside it
	Todo  []string // for a person, a sentence each
}

// File is a file that a config names.
type File struct {
	Name string // it begins where the config lies
	Text string
	Like string // the file that it was made from: it gets the same mode
	User string // whom it is to belong to
}

// Places are where Debian's packages keep the configs, those of Patroni first.
var (
	PatroniPlaces   = []string{"/etc/patroni/config.yml", "/etc/patroni/patroni.yml", "/etc/patroni.yml"}
	PgBouncerPlace  = "/etc/pgbouncer/pgbouncer.ini"
	HAProxyPlace    = "/etc/haproxy/haproxy.cfg"
	KeepalivedPlace = "/etc/keepalived/keepalived.conf"
)

// Here is the wish for all that this machine has.
func Here() Wish {
	first := func(paths ...string) string {
		for _, path := range paths {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
		return ""
	}
	return Wish{
		PatroniFile: first(PatroniPlaces...),
		PgBouncer:   first(PgBouncerPlace), HAProxy: first(HAProxyPlace), Keepalived: first(KeepalivedPlace),
	}
}

// maker makes one config.
type maker struct {
	Wish
	page
	patroni patroni // zero without a PatroniFile
	files   []File
	todo    []string
}

// Make makes a config. Paths in it that are relative begin where it will lie.
func Make(w Wish) (Config, error) {
	m := &maker{Wish: w}
	if w.PatroniFile != "" {
		var err error
		if m.patroni, err = readPatroni(w.PatroniFile, w); err != nil {
			return Config{}, err
		}
	}
	bouncer, err := m.lookAtPgBouncer()
	if err != nil {
		return Config{}, err
	}
	if m.User == "" {
		m.User = self()
		if m.User == "root" && bouncer != nil {
			m.User = bouncer.user
		}
	}
	m.head()
	if m.User != self() || m.User == "root" {
		m.gap()
		m.set("state_dir", "/var/lib/pgbaton", "the unit's; so said, every verb finds it, whoever types it")
	}
	m.store()
	m.cluster()
	if bouncer != nil {
		m.pgbouncer(bouncer)
	}
	if err := m.haproxy(); err != nil {
		return Config{}, err
	}
	if err := m.keepalived(); err != nil {
		return Config{}, err
	}
	return Config{Text: m.String(), Files: m.files, Todo: m.todo}, nil
}

func (m *maker) need(format string, args ...any) {
	m.todo = append(m.todo, fmt.Sprintf(format, args...))
}

func (m *maker) head() {
	m.say(`Written by pgbaton init, for a pgbaton that runs as the user %s.
Each setting says where it comes from; "guessed" is worth a second look.
pgbaton check, then pgbaton diff, then pgbaton run: each with -config and this file.`, m.User)
}

// cluster writes the cluster block.
func (m *maker) cluster() {
	p, from := m.patroni, "from "+m.PatroniFile
	scope, why := m.Scope, ""
	if scope == "" {
		scope, why = p.Scope, from
	}
	m.gap()
	m.open(`cluster "patroni" "main"`)
	m.set("scope", scope, why)
	if namespace := strings.Trim(cmp.Or(m.Namespace, p.Namespace), "/"); namespace != "" && namespace != "service" {
		if why = from; m.Namespace != "" {
			why = ""
		}
		m.set("namespace", namespace, why)
	}
	if p.Citus.Group != nil {
		m.set("group", *p.Citus.Group, from)
	}
	m.api()
	m.close()
}

// api writes how the REST servers are asked, if that takes more than their address.
func (m *maker) api() {
	p, from := m.patroni, "from "+m.PatroniFile
	if p.REST.CertFile == "" {
		return
	}
	ca := cmp.Or(p.Ctl.CAFile, p.REST.CAFile)
	m.gap()
	m.say("Patroni's REST servers speak TLS.")
	m.open("api")
	switch {
	case p.Ctl.Insecure:
		m.set("insecure", true, from+", ctl")
	case ca != "":
		m.set("ca_file", absolute(ca), from)
	default:
		m.say("%s names no authority of their certificates: that of this machine counts", m.PatroniFile)
	}
	if p.Ctl.CertFile != "" {
		m.set("cert_file", absolute(p.Ctl.CertFile), from+", ctl")
		if p.Ctl.KeyFile != "" {
			m.set("key_file", absolute(p.Ctl.KeyFile), from+", ctl")
		}
	} else if p.REST.VerifyClient == "required" {
		m.set("cert_file", "patroni-client.pem", "guessed: verify_client is required, and ctl has no certfile")
		m.need("put a certificate that Patroni's REST servers accept, and its key, into the file patroni-client.pem beside the config")
	}
	if user := p.REST.Authentication.User; user != "" {
		m.say(`Patroni asks for a password only where something is changed, which pgbaton does not do.
user          = %s
password_file = "patroni-password"`, literal(user))
	}
	m.close()
}

// file is one that pgbaton is to write.
type file struct {
	path   string
	reader string // the user who reads it; "" is root
	perms  string // if it is not there yet
}

// target begins the target of a daemon: its template, from a built-in one, for a file that
// was found or was not.
func (m *maker) target(labels, builtin string, f file, found bool) {
	m.gap()
	if found {
		m.say("%s is written anew, from what it says now; it is kept as %s.bak.", f.path, filepath.Base(f.path))
	} else {
		m.say("%s is not there yet: it will be, with the defaults of the template.", f.path)
	}
	m.from(labels, "builtin:"+builtin, f)
}

// from begins a target whose file is rendered from a source.
func (m *maker) from(labels, source string, f file) {
	m.open("target " + labels)
	m.open("template")
	m.set("source", source, "")
	m.set("destination", f.path, "")
	m.owned(f)
	m.set("backup", true, "")
	m.close()
}

// locate is the config in a folder, or the path itself if it is no folder.
func locate(path, name string) string {
	path = absolute(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() || filepath.Ext(path) == "" && err != nil {
		return filepath.Join(path, name)
	}
	return path
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// owned writes who is to have a file that pgbaton writes and another user reads.
func (m *maker) owned(f file) {
	path, reader := f.path, f.reader
	perms, why := f.perms, ""
	if info, err := os.Stat(path); err == nil {
		perms, why = fmt.Sprintf("%04o", info.Mode().Perm()), "as it is"
	}
	m.set("perms", perms, why)
	switch {
	case m.User == "root" && reader != "":
		m.set("user", reader, "who reads it")
	case m.User == "root":
	case m.User == reader || reader == "":
		m.set("user", m.User, "who writes it")
	default:
		group := groupOf(reader)
		m.set("user", m.User, "who writes it")
		m.set("group", group, "whose "+reader+" reads it")
		m.need("the user %s has to be in the group %s, to give it %s", m.User, group, path)
	}
	if dir := filepath.Dir(path); m.User != "root" && ownerOf(dir) != m.User && !sharedWith(dir, m.User) {
		m.need("the user %s has to be able to write the folder %s: files are replaced, not written over", m.User, dir)
	}
}

// groupOf is a user's own group.
func groupOf(name string) string {
	u, err := user.Lookup(name)
	if err != nil {
		return name
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return u.Gid
	}
	return g.Name
}
