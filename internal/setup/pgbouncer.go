package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

// bouncer is the pgbouncer of this machine.
type bouncer struct {
	path   string
	user   string // whom it runs as
	why    string // how that is known
	found  bool   // its config is there
	config pgbouncer.Present
}

// lookAtPgBouncer looks for pgbouncer; nil is none.
func (m *maker) lookAtPgBouncer() (*bouncer, error) {
	if m.PgBouncer == "" {
		return nil, nil
	}
	b := &bouncer{path: locate(m.PgBouncer, "pgbouncer.ini")}
	present, err := pgbouncer.Read(b.path)
	if _, is := os.Stat(b.path); err != nil && !errors.Is(is, fs.ErrNotExist) {
		return nil, hint.Wrap(err, "run it as root or as pgbouncer's user")
	}
	b.found, b.config = err == nil, present
	processes := running("pgbouncer", b.path)
	switch owner := ownerOf(b.path); {
	case len(processes) > 0:
		b.user, b.why = processes[0].user, "as whom the pgbouncer of this machine runs"
	case b.config.Settings["user"] != "":
		b.user, b.why = b.config.Settings["user"], "from "+b.path
	case owner != "" && owner != "root":
		b.user, b.why = owner, "guessed: who owns "+b.path
	default:
		b.user, b.why = "postgres", "guessed: pgbouncer does not run"
	}
	return b, nil
}

// bouncerDefaults are pgbouncer's own defaults, where the template has others and
// clients or operators would notice.
var bouncerDefaults = map[string]string{
	"listen_addr": "", "unix_socket_dir": "/tmp", "pidfile": "", "logfile": "", "auth_type": "md5", "auth_file": "",
	"pool_mode": "session", "max_client_conn": "100", "reserve_pool_size": "0",
}

// bouncerFixed are settings that the template has whatever its vars are.
var bouncerFixed = map[string]string{"tcp_keepalive": "1", "tcp_keepintvl": "10", "tcp_keepcnt": "3"}

// pgbouncer writes the target of pgbouncer.
func (m *maker) pgbouncer(b *bouncer) {
	if b.special() {
		m.ownPgBouncer(b)
		return
	}
	m.target(`"pgbouncer" "edge"`, "pgbouncer.ini", file{b.path, b.user, "0640"}, b.found)

	vars, extra := m.bouncerVars(b)
	console := m.console(b, &vars)
	vars.write(&m.page, extra, "from "+b.path)
	m.gap()
	m.text.WriteString(console)
	m.bouncerHold(vars.values["pool_mode"] == "session")
}

// bouncerHold writes whether clients wait, and ends the target.
func (m *maker) bouncerHold(sessions bool) {
	m.gap()
	if sessions {
		m.say("Clients can't be kept waiting while the leader changes, as pool_mode is session: a session that is open fails once.\nhold = true")
	} else {
		m.set("hold", true, "clients wait while the leader changes, instead of failing")
	}
	m.close()
}

// special says whether the config says what the built-in template can't, of databases
// and users. One that includes others is not for a template of one file.
func (b *bouncer) special() bool {
	if !b.found || len(b.config.Includes) > 0 {
		return false
	}
	places := map[string]bool{}
	for _, d := range b.config.Databases {
		places[d.Host+":"+cmp.Or(d.Port, "5432")] = true
		if len(d.Options) > 0 {
			return true
		}
	}
	return len(b.config.Users) > 0 || len(places) > 1
}

// ownPgBouncer writes the target of a pgbouncer whose config becomes the template: it
// stays as it is, but for where the leader is.
func (m *maker) ownPgBouncer(b *bouncer) {
	const name = "pgbouncer.ini.tmpl"
	text, aside, err := pgbouncer.Lead(b.path, "{{ $leader.Host }}", "{{ $leader.Port }}")
	if err != nil {
		m.need("%v", err)
	}
	m.files = append(m.files, File{
		Name: name, Like: b.path, User: m.User,
		Text: "{{ $leader := (cluster \"main\").Leader -}}\n" + text,
	})
	m.gap()
	m.say("%s stays as it is, but for where the leader is: %s is the template of it. It is kept as %s.bak.", b.path, name, filepath.Base(b.path))
	m.from(`"pgbouncer" "edge"`, name, file{b.path, b.user, "0640"})
	m.gap()
	vars := given{}
	for _, key := range []string{"unix_socket_dir", "auth_file"} {
		if value := cmp.Or(b.config.Settings[key], bouncerDefaults[key]); value != "" {
			vars.add(key, value, "")
		}
	}
	if v, ok := varsOf("pgbouncer.ini")["listen_port"].value(cmp.Or(b.config.Settings["listen_port"], "6432")); ok {
		vars.add("listen_port", v, "")
	}
	admins := strings.FieldsFunc(b.config.Settings["admin_users"], func(r rune) bool { return r == ',' || r == ' ' })
	if len(admins) > 0 {
		vars.add("admin_users", admins, "")
	} else if m.User != b.user && m.User != "root" {
		m.need("add admin_users = pgbaton to [pgbouncer] in %s: pgbaton tells pgbouncer to reload as that user", name)
	}
	m.text.WriteString(m.console(b, &vars))
	m.bouncerHold(cmp.Or(b.config.Settings["pool_mode"], bouncerDefaults["pool_mode"]) == "session")
	if len(aside) > 0 {
		m.need("entries of [databases] that do not lead where most do stay as they are: %s. If one is to lead to a replica, say so in %s: {{ (index (cluster \"main\").Replicas 0).Host }}", strings.Join(aside, ", "), name)
	}
}

// bouncerVars are the vars that make the template say what the file says.
func (m *maker) bouncerVars(b *bouncer) (vars given, extra map[string]string) {
	from, extra := "from "+b.path, map[string]string{}
	if !b.found {
		return vars, extra
	}
	known := varsOf("pgbouncer.ini")
	settings := b.config.Settings
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		value := settings[key]
		v, has := known[key]
		switch {
		case bouncerFixed[key] == value && value != "", key == "log_disconnections" && value == cmp.Or(settings["log_connections"], "1"):
		case !has && (secret.Names(key) || len(secret.Find(key+" = "+value)) > 0):
			m.need("%s says %s, which is a secret and not copied: put it into a file that %s can include, see config_file in docs/config.md", b.path, key, b.path)
		case !has:
			extra[key] = value
		case v.isDefault(value):
		default:
			if typed, ok := v.value(value); ok {
				vars.add(key, typed, from)
			} else {
				extra[key] = value
			}
		}
	}
	for key, value := range bouncerDefaults {
		if _, set := settings[key]; !set && !known[key].isDefault(value) {
			typed, _ := known[key].value(value)
			vars.add(key, typed, "pgbouncer's own default: "+b.path+" does not say")
		}
	}
	m.bouncerDatabases(b, &vars)
	return vars, extra
}

// bouncerDatabases adds the databases, and says what of their entries is not carried
// over.
func (m *maker) bouncerDatabases(b *bouncer, vars *given) {
	var names []string
	var more []string
	for _, d := range b.config.Databases {
		names = append(names, d.Name)
		if len(d.Options) > 0 {
			more = append(more, fmt.Sprintf("%s (%s)", d.Name, strings.Join(d.Options, ", ")))
		}
	}
	if len(names) > 0 && !slices.Equal(names, []string{"*"}) {
		vars.add("databases", names, "from "+b.path+"; each leads to the leader")
		for _, name := range names {
			if slices.Contains(names, name+"_ro") {
				vars.add("ro_suffix", "", "no read-only companions: "+name+"_ro is a database of its own")
			}
		}
	}
	if len(more) > 0 {
		m.need("entries of [databases] in %s say more than where they lead: %s. That is not carried over: see database_options in docs/templates.md, or keep a template of your own", b.path, strings.Join(more, "; "))
	}
	if len(b.config.Users) > 0 {
		m.need("the section [users] of %s is not carried over (%s): keep it in a file of its own, see config_file in docs/config.md", b.path, strings.Join(b.config.Users, ", "))
	}
	if len(b.config.Includes) > 0 {
		m.need("%s includes %s: what they say is now in vars, and they are read no more", b.path, strings.Join(b.config.Includes, ", "))
	}
}

// console is where pgbouncer is told to reload, and who tells it.
func (m *maker) console(b *bouncer, vars *given) string {
	var p page
	folder, port := "/var/run/postgresql", 6432
	if text, is := vars.values["unix_socket_dir"].(string); is {
		folder = text
	}
	if n, is := vars.values["listen_port"].(int); is {
		port = n
	}
	if folder == "" {
		p.set("host", "127.0.0.1", "it has no unix socket")
	} else {
		p.set("socket", folder, "")
	}
	p.set("port", port, "")
	if m.User == b.user && folder != "" {
		p.say("The console asks the user %s for no password: pgbouncer runs as the same (%s).", b.user, b.why)
		return p.text.String()
	}
	if m.User == "root" && folder != "" {
		p.say("The console asks for no password: it lets in whom pgbouncer runs as (%s, %s), and root can be anybody.", b.user, b.why)
		return p.text.String()
	}
	user := "pgbaton"
	admins, _ := vars.values["admin_users"].([]string)
	if len(admins) > 0 {
		user = admins[0]
		p.say("pgbouncer runs as %s (%s), so the console asks for a user of admin_users and a password.", b.user, b.why)
	} else {
		vars.add("admin_users", []string{user}, "so that pgbaton, which runs as "+m.User+", may tell it to reload")
		p.say("pgbouncer runs as %s (%s) and pgbaton as %s, so the console asks for a user and a password.", b.user, b.why, m.User)
	}
	p.set("user", user, "")
	p.set("password_file", "console-password", "")
	file, _ := vars.values["auth_file"].(string)
	m.need("write the password of %s in pgbouncer's %s into the file console-password beside the config, so that %s alone may read it; a new user needs a line there, and one reload of pgbouncer by hand",
		user, cmp.Or(file, filepath.Join(filepath.Dir(b.path), "userlist.txt")), m.User)
	return p.text.String()
}
