package doctor_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/probe"
)

// TestReadSamples reads the files that come with pgDoctor, as they are.
func TestReadSamples(t *testing.T) {
	for file, want := range map[string][]doctor.Check{
		"pgdoctor.cfg": {{MaxLag: 15 * time.Second}, {SQL: "SELECT 1"}},
		"passes.cfg": {
			{SQL: "SELECT 6", Want: probe.Comparison{Op: ">", Value: "5"}},
			{SQL: "SELECT 3", Want: probe.Comparison{Op: "<", Value: "5"}},
			{SQL: "SELECT 5", Want: probe.Comparison{Op: "=", Value: "5"}},
		},
		"fails.cfg": {
			{SQL: "SELECT 3", Want: probe.Comparison{Op: ">", Value: "5"}},
			{SQL: "SELECT 5", Want: probe.Comparison{Op: "<", Value: "5"}},
			{SQL: "SELECT 3", Want: probe.Comparison{Op: "=", Value: "5"}},
			{SQL: "SELECT c FROM t WHERE 1=2"},
		},
	} {
		content, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		c, mistakes := doctor.Read(string(content))
		if len(mistakes) > 0 {
			t.Errorf("%s: %v", file, mistakes)
		}
		for i := range c.Checks {
			c.Checks[i].Line = 0
		}
		all := doctor.Defaults()
		all.SyslogFacility, all.Checks = "local7", want
		if !reflect.DeepEqual(c, all) {
			t.Errorf("%s: read %+v, want %+v", file, c, all)
		}
	}
}

func TestReadSettings(t *testing.T) {
	c, mistakes := doctor.Read(strings.Join([]string{
		"  HTTP_Port=9000   # as the balancer asks",
		"syslog_facility = LOCAL3",
		"pg_host = /var/run/postgresql",
		"pg_port=6432",
		"pg_user = 'the doctor'",
		`pg_password = a\\b=c'\'d`,
		"pg_database =",
		"pg_connection_timeout = 0.5",
		"pg_max_replication_lag = -1",
		"check_timeout = 2", "http_timeout = 4.5", "http_address = 127.0.0.1", "pg_sslmode = verify-full", "pg_sslrootcert = /ca.pem",
		"\t# nothing",
		"",
	}, "\r\n"))
	want := doctor.Config{
		HTTPPort: 9000, HTTPAddress: "127.0.0.1", HTTPTimeout: 4500 * time.Millisecond, SyslogFacility: "local3",
		Host: "/var/run/postgresql", Port: 6432, User: "the doctor", Password: `a\b=c''d`, Database: "postgres", SSLMode: "verify-full", RootCert: "/ca.pem",
		Connect: 500 * time.Millisecond, CheckTimeout: 2 * time.Second,
	}
	if len(mistakes) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("read %+v, %v, want %+v", c, mistakes, want)
	}
}

func TestReadChecks(t *testing.T) {
	for _, c := range []struct {
		line           string
		sql, op, value string
		wrong, hint    string // of what is refused
	}{
		{line: `"SELECT 1"`, sql: "SELECT 1"},
		{line: `"SELECT 1" = "1"`, sql: "SELECT 1", op: "=", value: "1"},
		{line: `"SELECT 1"<"1"#5`, sql: "SELECT 1", op: "<", value: "1"},
		{line: `"SELECT 1" >= " 1 "`, sql: "SELECT 1", op: ">=", value: "1"},
		{line: `"SELECT 1" = "1" # "one" = "two"`, sql: "SELECT 1", op: "=", value: "1"},
		// What pgDoctor takes as well, though nobody would write it.
		{line: `SELECT 1`, sql: "SELECT 1"},
		{line: `SELECT 1 = 1 # no quotes`, sql: "SELECT 1 = 1"},
		{line: `"SELECT 1`, sql: "SELECT 1"},
		{line: `"SELECT 1" = "1`, sql: "SELECT 1", op: "=", value: "1"},
		{line: `""SELECT 1"" = ""1""`, sql: "SELECT 1", op: "=", value: "1"},
		{line: `"SELECT 1 = 1"`, sql: "SELECT 1 = 1"},
		// What it cuts at the #, or at the quote.
		{line: `"SELECT '#'" = "#"`, sql: "SELECT '#'", op: "=", value: "#"},
		{line: `"SELECT 5 # 1" = "4" # xor`, sql: "SELECT 5 # 1", op: "=", value: "4"},
		{line: `"SELECT ""x"" FROM t" = "1"`, sql: `SELECT "x" FROM t`, op: "=", value: "1"},
		{line: `"SELECT ""x"" FROM t"`, sql: `SELECT "x" FROM t`},
		{line: `"SELECT '""'" = """"`, sql: `SELECT '"'`, op: "=", value: `"`},

		{line: `"SELECT 1" == "1"`, wrong: `compare with "1": there is no operator "=="`, hint: "did you mean = ?"},
		{line: `"SELECT 1" ~ "1"`, wrong: `compare with "1": there is no operator "~"`, hint: "operators are < <= = != >= >"},
		{line: `"SELECT 1" "1"`, wrong: "there is no operator between SQL and value", hint: "operators are < <= = != >= >. A double quote within SQL is written twice"},
		{line: `"SELECT 1" = 1`, wrong: `behind the SQL stands "= 1", and no value`, hint: `a value is quoted: "SQL" < "5". A double quote within SQL is written twice`},
		{line: `"SELECT 1" =`, wrong: `behind the SQL stands "=", and no value`, hint: `a value is quoted: "SQL" < "5". A double quote within SQL is written twice`},
		{line: `"SELECT 1" = ""`, wrong: "there is no value to compare with", hint: `nothing is never equal to what a check yields: compare in SQL, as "SELECT coalesce(x, '') = ''" = "t"`},
		{line: `"SELECT 1" < "few"`, wrong: `compare by <: "few" is no number`, hint: "< compares numbers; = and != compare texts"},
		{line: `"SELECT 1" = "1" and "SELECT 2" = "3"`, wrong: `behind the value stands "and \"SELECT 2\" = \"3\""`, hint: "one check a line. A double quote within SQL is written twice"},
		{line: `"SELECT "x" FROM t"`, wrong: `compare with "FROM t": there is no operator "x"`, hint: "operators are < <= = != >= >"},
		{line: `""`, wrong: "there is no SQL between the quotes", hint: `write it as "SELECT 1"`},
		{line: `"" = "1"`, wrong: "there is no SQL between the quotes", hint: `write it as "SELECT 1"`},
		{line: `pg_host localhost`, wrong: "this is neither a setting nor a check", hint: `write a check as "SQL", or as "SQL" < "VALUE"`},
		{line: `"SELECT '#`, wrong: "the closing double quote is missing", hint: "a double quote within SQL is written twice"},

		{line: `pg_hots = x`, wrong: `there is no setting "pg_hots"`, hint: "did you mean pg_host? A check stands in double quotes"},
		{line: `custom_check = x`, wrong: `there is no setting "custom_check"`},
		{line: `pg_port =`, wrong: "pg_port: it has no value", hint: "give it one, or leave the line out for the default"},
		{line: `http_port`, wrong: "http_port: it has no value", hint: "give it one, or leave the line out for the default"},
		{line: `http_port = 80.5`, wrong: `http_port: "80.5" is no port`, hint: "ports are 1 to 65535"},
		{line: `pg_max_replication_lag = 15s`, wrong: `pg_max_replication_lag: "15s" is no number of seconds`, hint: "write it as 3 or 0.5"},
		{line: `syslog_facility = daemon`, wrong: `syslog_facility: there is no facility "daemon"`, hint: "local0 to local7, or leave syslog_facility out"},
		{line: `pg_password = 'x`, wrong: "pg_password: the closing quote is missing", hint: `end it with ', or write \' in front of the first`},
		{line: `pg_password = 'x' y`, wrong: "pg_password: something stands behind the closing quote", hint: `write a quote within quotes as \'`},
		{line: `http_key = /key`, wrong: "http_key: there is no http_cert beside it", hint: "name the certificate of the key"},
		{line: "\"SELECT \x001\"", wrong: "there is a byte 0 in it", hint: "the file has to be text"},
	} {
		got, mistakes := doctor.Read("\n" + c.line + "\n")
		if c.wrong != "" {
			if len(mistakes) != 1 || mistakes[0].Err.Error() != c.wrong || mistakes[0].Line != 2 || mistakes[0].Warning || c.hint != "" && hint.Of(mistakes[0].Err) != c.hint {
				t.Errorf("%s: %+v, want %q", c.line, mistakes, c.wrong)
				for _, m := range mistakes {
					t.Errorf("hint %q", hint.Of(m.Err))
				}
			}
			if len(got.Checks) > 0 {
				t.Errorf("%s: it is refused, and a check: %+v", c.line, got.Checks)
			}
			continue
		}
		want := []doctor.Check{{Line: 2, SQL: c.sql, Want: probe.Comparison{Op: c.op, Value: c.value}}}
		if len(mistakes) > 0 || !slices.Equal(got.Checks, want) {
			t.Errorf("%s: %+v, %v, want %+v", c.line, got.Checks, mistakes, want)
		}
	}
}

// TestReadTwice: pgDoctor takes the last one of a setting that is there twice, and each
// lag.
func TestReadTwice(t *testing.T) {
	c, mistakes := doctor.Read("pg_host = a\npg_max_replication_lag = 5\npg_host = b\npg_max_replication_lag = 7\n")
	if c.Host != "b" || len(c.Checks) != 2 || c.Checks[1].MaxLag != 7*time.Second {
		t.Errorf("%+v", c)
	}
	if len(mistakes) != 1 || !mistakes[0].Warning || mistakes[0].Err.Error() != "pg_host: line 1 has it too" {
		t.Errorf("%+v", mistakes)
	}
}

// TestReadHidesPasswords: no mistake shows one.
func TestReadHidesPasswords(t *testing.T) {
	for _, line := range []string{"pg_password = 'hunter2", "pg_pasword = hunter2", "password = hunter2", "pg_password = hunter2\npg_password = hunter2", "pg_password = hunter2\npg_password_file = x"} {
		_, mistakes := doctor.Read(line)
		if len(mistakes) == 0 {
			t.Errorf("%s: nothing is wrong", line)
		}
		for _, m := range mistakes {
			if strings.Contains(m.Text+m.Err.Error()+hint.Of(m.Err), "hunter2") {
				t.Errorf("%s: %+v shows it", line, m)
			}
		}
	}
}

// FuzzRead: whatever the file, no check passes for want of being understood, and each
// mistake has its line.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"pgdoctor.cfg", "passes.cfg", "fails.cfg"} {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	for _, line := range []string{`"a" == "b"`, `""""""`, `"a""b" < "1"`, `pg_password = 'a\'`, `pg_port = 1e9`, `"a" "=" "b"`, "\"\x00", `"#" = "#"`, `select "=" 1`, "http_timeout = nan", "pg_max_replication_lag = 1e300"} {
		f.Add(line)
		f.Add(line + "\r\n" + line)
	}
	f.Fuzz(func(t *testing.T, content string) {
		c, mistakes := doctor.Read(content)
		lines := strings.Split(content, "\n")
		for _, check := range c.Checks {
			if err := check.Want.Valid(); err != nil {
				t.Errorf("%q: %v", lines[check.Line-1], err)
			}
			if check.SQL == "" && !strings.Contains(strings.ToLower(lines[check.Line-1]), "pg_max_replication_lag") || check.SQL != "" && strings.TrimSpace(check.SQL) == "" {
				t.Errorf("%q is a check of nothing", lines[check.Line-1])
			}
			if check.SQL != "" && check.Want.Op == "" && check.Want.Value != "" || check.MaxLag < 0 {
				t.Errorf("%q is %+v", lines[check.Line-1], check)
			}
		}
		for _, m := range mistakes {
			if m.Line < 1 || m.Line > len(lines) || m.Err == nil || hint.Of(m.Err) == "" {
				t.Errorf("%+v", m)
			}
		}
		if c.HTTPPort < 1 || c.HTTPPort > 65535 || c.Port < 1 || c.Port > 65535 || c.HTTPTimeout <= 0 || c.CheckTimeout <= 0 || c.Connect <= 0 || c.Host == "" {
			t.Errorf("%+v", c)
		}
	})
}
