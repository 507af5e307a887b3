package doctor

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// key is a setting of the file.
type key struct {
	name string
	ours bool // pgDoctor takes it for a query
	set  func(c *Config, line int, value string) error
}

// keys are all there are, in the order of the documentation.
var keys = []key{
	{"http_port", false, func(c *Config, _ int, v string) error { return port(&c.HTTPPort, v) }},
	{"syslog_facility", false, func(c *Config, _ int, v string) error { return facility(c, v) }},
	{"pg_host", false, func(c *Config, _ int, v string) error { return text(&c.Host, v) }},
	{"pg_port", false, func(c *Config, _ int, v string) error { return port(&c.Port, v) }},
	{"pg_user", false, func(c *Config, _ int, v string) error { return text(&c.User, v) }},
	{"pg_password", false, func(c *Config, _ int, v string) error { c.Password = v; return nil }},
	{"pg_database", false, func(c *Config, _ int, v string) error { return text(&c.Database, v) }},
	{"pg_connection_timeout", false, func(c *Config, _ int, v string) error { return seconds(&c.Connect, v) }},
	{"pg_max_replication_lag", false, maxLag},

	{"pg_password_file", true, func(c *Config, _ int, v string) error { return text(&c.PasswordFile, v) }},
	{"pg_sslmode", true, func(c *Config, _ int, v string) error { return text(&c.SSLMode, v) }},
	{"pg_sslrootcert", true, func(c *Config, _ int, v string) error { return text(&c.RootCert, v) }},
	{"pg_sslcert", true, func(c *Config, _ int, v string) error { return text(&c.Cert, v) }},
	{"pg_sslkey", true, func(c *Config, _ int, v string) error { return text(&c.Key, v) }},
	{"check_timeout", true, func(c *Config, _ int, v string) error { return seconds(&c.CheckTimeout, v) }},
	{"http_timeout", true, func(c *Config, _ int, v string) error { return seconds(&c.HTTPTimeout, v) }},
	{"http_address", true, func(c *Config, _ int, v string) error { return text(&c.HTTPAddress, v) }},
	{"http_cert", true, func(c *Config, _ int, v string) error { return text(&c.HTTPCert, v) }},
	{"http_key", true, func(c *Config, _ int, v string) error { return text(&c.HTTPKey, v) }},
}

// Keys are the names of all settings, and whether they are pgbaton's own.
func Keys() (names []string, ours map[string]bool) {
	ours = map[string]bool{}
	for _, k := range keys {
		names = append(names, k.name)
		ours[k.name] = k.ours
	}
	return names, ours
}

// text sets a text; an empty one leaves what was there, as in a file that names each
// setting.
func text(to *string, v string) error {
	if v != "" {
		*to = v
	}
	return nil
}

func port(to *int, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 65535 {
		return hint.Wrap(fmt.Errorf("%q is no port", v), "ports are 1 to 65535")
	}
	*to = n
	return nil
}

// maxSeconds keeps durations from overflowing.
const maxSeconds = 1e6

// seconds sets a time; 0 or less leaves what was there.
func seconds(to *time.Duration, v string) error {
	d, err := duration(v)
	if err == nil && d > 0 {
		*to = d
	}
	return err
}

func duration(v string) (time.Duration, error) {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(n) {
		return 0, hint.Wrap(fmt.Errorf("%q is no number of seconds", v), "write it as 3 or 0.5")
	}
	return time.Duration(max(-1, min(n, maxSeconds)) * float64(time.Second)), nil
}

// maxLag is a check; less than 0 is none.
func maxLag(c *Config, line int, v string) error {
	d, err := duration(v)
	if err == nil && d >= 0 {
		c.Checks = append(c.Checks, Check{Line: line, MaxLag: d})
	}
	return err
}

// facility sets one of syslog's local ones, which are all that pgDoctor knows.
func facility(c *Config, v string) error {
	n, local := strings.CutPrefix(strings.ToLower(v), "local")
	if v != "" && (!local || len(n) != 1 || n[0] < '0' || n[0] > '7') {
		return hint.Wrap(fmt.Errorf("there is no facility %q", v), "local0 to local7, or leave syslog_facility out")
	}
	c.SyslogFacility = strings.ToLower(v)
	return nil
}

// find returns a setting by its name, in any case.
func find(name string) (key, bool) {
	for _, k := range keys {
		if strings.EqualFold(k.name, name) {
			return k, true
		}
	}
	return key{}, false
}

// errEmpty is for a setting that can't be empty.
var errEmpty = hint.Wrap(errors.New("it has no value"), "give it one, or leave the line out for the default")
