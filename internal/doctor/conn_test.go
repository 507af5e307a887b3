package doctor

import "testing"

// TestPasswordInTheClear: it goes to this machine alone, or to whoever has shown a
// certificate; and the environment has no part in how somebody logs in.
func TestPasswordInTheClear(t *testing.T) {
	for name, value := range map[string]string{"PGSSLMODE": "disable", "PGHOST": "elsewhere", "PGUSER": "nobody", "PGPASSWORD": "else", "PGDATABASE": "else", "PGPORT": "1", "PGOPTIONS": "-c else=1"} {
		t.Setenv(name, value)
	}
	for _, c := range []struct {
		host, mode string
		want       string
	}{
		{"localhost", "prefer", ""},
		{"127.0.0.1", "disable", ""},
		{"::1", "prefer", ""},
		{"/var/run/postgresql", "prefer", ""},
		{"10.0.0.5", "prefer", "!password"},
		{"db1", "require", "!password"},
		{"localhost.example.com", "prefer", "!password"},
		{"db1", "verify-full", ""},
		{"db1", "verify-ca", ""},
	} {
		config := Defaults()
		config.Host, config.SSLMode, config.Password = c.host, c.mode, "hunter2"
		s, err := NewServer(config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.connConfig()
		if err != nil {
			t.Fatal(err)
		}
		if got.RequireAuth != c.want {
			t.Errorf("%s %s: %q, want %q", c.host, c.mode, got.RequireAuth, c.want)
		}
		if got.Host != c.host || got.Port != 5432 || got.User != "postgres" || got.Database != "postgres" || got.Password != "hunter2" || len(got.RuntimeParams) != 1 || (got.TLSConfig == nil) != (c.mode == "disable" || c.host[0] == '/') {
			t.Errorf("%s %s: %s:%d %s %s %v", c.host, c.mode, got.Host, got.Port, got.User, got.Database, got.RuntimeParams)
		}
	}
}
