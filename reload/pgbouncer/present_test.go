package pgbouncer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbaton/pgbaton/reload"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pgbouncer.ini": "[databases]\napp = host=a port=1\napp = host=b dbname=app pool_size=5 password='x y'\n* =\n[users]\nada = pool_mode=session\n[pgbouncer]\n%include more.ini\nlisten_port = 6433\n",
		"more.ini":      "listen_port = 1\nauth_type = md5\n",
		"broken.ini":    "%include none.ini\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(filepath.Join(dir, "pgbouncer.ini"))
	want := Present{
		Settings:  map[string]string{"listen_port": "6433", "auth_type": "md5"},
		Databases: []Database{{Name: "app", Host: "b", Options: []string{"password", "pool_size"}}, {Name: "*"}},
		Users:     []string{"ada"},
		Includes:  []string{filepath.Join(dir, "more.ini")},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, name := range []string{"broken.ini", "nowhere.ini"} {
		if _, err := Read(filepath.Join(dir, name)); !errors.Is(err, reload.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
