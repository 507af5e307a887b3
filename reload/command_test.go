package reload_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
)

// daemon is one whose own check says what it is told to.
type daemon struct{ check error }

func (d daemon) Check(context.Context, []reload.File) error { return d.check }

func (daemon) Follow(context.Context, []reload.File, reload.Mark) (reload.Mark, error) {
	return reload.Mark{Proof: reload.Sent, How: "test"}, nil
}

func stagedSet(t *testing.T) []reload.File {
	t.Helper()
	dir := t.TempDir()
	set := []reload.File{
		{Path: "/etc/d/main.conf", Staged: filepath.Join(dir, ".main.conf.new")},
		{Path: "/etc/d/users.txt", Staged: filepath.Join(dir, ".users.txt.new")},
	}
	for i, f := range set {
		set[i].Content = []byte("content of " + f.Path + "\n")
		servertest.File(t, f.Staged, string(set[i].Content), 0o600)
	}
	return set
}

func TestWithCheckPasses(t *testing.T) {
	set := stagedSet(t)
	out := filepath.Join(t.TempDir(), "out")
	d := reload.WithCheck(daemon{}, []string{
		"/bin/sh", "-c",
		`cat "$1" "${2#--users=}" >"$3"; echo "$PGBATON_FILE $PGBATON_DESTINATION" >>"$3"`,
		"sh", "{file}", "--users={file:users.txt}", out,
	}, 0, reload.Keeps{})
	if err := d.Check(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("content of /etc/d/main.conf\ncontent of /etc/d/users.txt\n%s /etc/d/main.conf\n", set[0].Staged)
	if string(got) != want {
		t.Errorf("the command saw %q, want %q", got, want)
	}
	mark, err := d.Follow(t.Context(), set, reload.Mark{})
	if err != nil || mark.How != "test" {
		t.Errorf("Follow = %+v, %v: not the daemon's own", mark, err)
	}
	if u, ok := d.(interface{ Unwrap() reload.Daemon }); !ok || u.Unwrap() != (daemon{}) {
		t.Error("the daemon inside cannot be reached")
	}
}

func TestWithCheckRefuses(t *testing.T) {
	set := stagedSet(t)
	d := reload.WithCheck(daemon{}, []string{"/bin/sh", "-c", `echo "$0:3: bad word" >&2; exit 1`, "{file}"}, 0, reload.Keeps{})
	err := d.Check(t.Context(), set)
	if !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), "/etc/d/main.conf:3: bad word") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), set[0].Staged) {
		t.Errorf("error %v shows the staged path", err)
	}

	silent := reload.WithCheck(daemon{}, []string{"false"}, 0, reload.Keeps{})
	if err := silent.Check(t.Context(), set); !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("error of a silent check: %v", err)
	}
}

func TestWithCheckAsksTheDaemonFirst(t *testing.T) {
	own := errors.New("own")
	d := reload.WithCheck(daemon{check: own}, []string{"no-such-program-here"}, 0, reload.Keeps{})
	if err := d.Check(t.Context(), stagedSet(t)); !errors.Is(err, own) {
		t.Errorf("error %v, want the daemon's own", err)
	}
}

func TestWithCheckCannotRun(t *testing.T) {
	for _, tc := range []struct {
		name     string
		command  []string
		mentions string
		hinted   string
	}{
		{"missing", []string{"no-such-program-here"}, "no-such-program-here", "install no-such-program-here or correct check"},
		{"hangs", []string{"/bin/sh", "-c", "sleep 600 & wait"}, "timed out after 200ms", "by hand"},
		{"crashes", []string{"/bin/sh", "-c", "kill -SEGV $$"}, "segmentation fault", ""},
		{"unknown file", []string{"cat", "{file:absent.txt}"}, "{file:absent.txt} names no file", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := reload.WithCheck(daemon{}, tc.command, 200*time.Millisecond, reload.Keeps{}).Check(t.Context(), stagedSet(t))
			if err == nil || errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), tc.mentions) {
				t.Errorf("error %v, want one that is no refusal and says %q", err, tc.mentions)
			}
			if !strings.Contains(hint.Of(err), tc.hinted) {
				t.Errorf("hint %q, want %q", hint.Of(err), tc.hinted)
			}
			if tc.name == "hangs" && !errors.Is(err, proc.ErrTimeout) {
				t.Errorf("error %v is no time-out", err)
			}
		})
	}
}

func TestInPlace(t *testing.T) {
	set := []reload.File{{Path: "/etc/a", Staged: "/stage/a"}, {Path: "/etc/ab", Staged: "/stage/ab"}, {Path: "/etc/none"}}
	if got := reload.InPlace("/stage/ab:1 /stage/a:2", set); got != "/etc/ab:1 /etc/a:2" {
		t.Errorf("got %q", got)
	}
}

func TestTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 7 * time.Second, "250ms": 250 * time.Millisecond} {
		if got, err := reload.Timeout("timeout", text, 7*time.Second); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"5", "0s", "-1s", "soon"} {
		if _, err := reload.Timeout("timeout", text, time.Second); err == nil || hint.Of(err) == "" {
			t.Errorf("%q: error %v, hint %q", text, err, hint.Of(err))
		}
	}
}
