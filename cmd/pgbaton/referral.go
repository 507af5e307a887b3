package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/internal/secret"
)

// doctorFile is where pgDoctor looks for its config.
const doctorFile = "/etc/pgdoctor.cfg"

// referral is where the doctor's work is written down.
type referral struct {
	file   string  // a pgdoctor.cfg; "" is none
	wide   sources // configs of pgbaton's, with clusters
	listen string  // HOST:PORT, whatever the file says; "" is as it says
}

// plan is what is read there.
type plan struct {
	here  doctor.Config // where to listen, and the server of this machine
	local bool          // there is such a server
	wide  *config.Config
}

// read reads all of it, with whatever makes it impossible to serve.
func (r referral) read(secrets *secret.Keeper) (plan, config.Problems) {
	p := plan{here: doctor.Defaults(), local: r.file != ""}
	var problems config.Problems
	if p.local {
		p.here, problems = readDoctor(r.file, secrets)
	}
	if r.listen != "" {
		p.here.HTTPAddress, p.here.HTTPPort, _ = addressOf(r.listen)
	}
	if len(r.wide.paths) > 0 {
		o := r.wide.options()
		o.Idle = true
		c, more := config.Load(r.wide.paths, o)
		problems = append(problems, more...)
		if c != nil && !slices.ContainsFunc(c.Clusters, func(cl config.Cluster) bool { return len(cl.Probes) > 0 }) {
			problems = append(problems, config.Problem{
				File: r.wide.paths[0], Message: "no cluster has a probe: there is nothing to look at", Code: explain.ConfigMissing,
				Hint: `add a block like probe "lag" { max_delay = "5s" } to a cluster`,
			})
		}
		if c != nil {
			c.Targets, c.Exec = nil, nil // that is another pgbaton's work
		}
		p.wide = c
	}
	return p, problems
}

// addressOf reads HOST:PORT.
func addressOf(text string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(text)
	if err == nil {
		port, err = strconv.Atoi(number)
	}
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("-listen %q is no address: write it as :8071 or 10.0.0.5:8071", text)
	}
	return host, port, nil
}

// summarise says what there is, for whoever wants it checked.
func (p plan) summarise(w io.Writer, from referral) error {
	var err error
	if p.local {
		_, err = fmt.Fprintf(w, "%s: ok, checks: %d\n", from.file, len(p.here.Checks))
	}
	if p.wide != nil {
		_, also := fmt.Fprintf(w, "%s: ok, clusters: %d\n", strings.Join(from.wide.paths, ", "), len(p.wide.Clusters))
		err = errors.Join(err, also)
	}
	return err
}

// describe is the same for the log.
func (p plan) describe() []any {
	var args []any
	if p.local {
		args = append(args, "server", p.here.Where(), "checks", len(p.here.Checks))
	}
	if p.wide != nil {
		args = append(args, "clusters", len(p.wide.Clusters))
	}
	return args
}

// readDoctor reads a pgdoctor.cfg.
func readDoctor(path string, secrets *secret.Keeper) (doctor.Config, config.Problems) {
	content, err := os.ReadFile(path)
	if err != nil {
		return doctor.Config{}, config.Problems{{
			File: path, Message: err.Error(), Code: explain.ConfigUnreadable, Hint: "name the file of pgDoctor, as pgbaton doctor /etc/pgdoctor.cfg; or clusters by -config",
		}}
	}
	c, mistakes := doctor.Read(string(content))
	secrets.Know(c.Password)
	var problems config.Problems
	for _, m := range mistakes {
		problems = append(problems, config.Problem{
			File: path, Line: m.Line, Message: m.Err.Error(), Text: m.Text, Hint: cmp.Or(hint.Of(m.Err), "docs/doctor.md has every setting"),
			Code: cmp.Or(explain.Of(m.Err), explain.ConfigValue), Warning: m.Warning,
		})
	}
	if problems.Fatal() {
		return c, problems
	}
	if info, err := os.Stat(path); err == nil && c.Password != "" && info.Mode().Perm()&0o004 != 0 {
		problems = append(problems, config.Problem{
			File: path, Message: "everybody can read the password in it", Hint: "chmod o-r " + path, Code: explain.ConfigValue, Warning: true,
		})
	}
	if _, err := doctor.NewServer(c); err != nil {
		problems = append(problems, config.Problem{File: path, Message: err.Error(), Hint: hint.Of(err), Code: explain.ConfigValue})
	}
	if password, err := login.Password(c.PasswordFile); err == nil {
		secrets.Know(password)
	}
	return c, problems
}
