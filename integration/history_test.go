package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// asks runs a verb that asks about the edge, and returns what it printed and whether its
// exit code was 0.
func (e *edge) asks(t *testing.T, args ...string) (out string, ok bool) {
	t.Helper()
	cmd := exec.Command(binary, append(args, "-config", filepath.Join(e.dir, "pgbaton.hcl"))...)
	cmd.Dir = e.dir
	servertest.AsPostgres(t, cmd)
	text, err := cmd.CombinedOutput()
	return string(text), err == nil
}

// recounts wants the newest change to be a switchover, each of its steps with its time.
func (e *edge) recounts(t *testing.T, from, to *servertest.PatroniMember, held bool) {
	t.Helper()
	var c history.Change
	servertest.Eventually(t, "the switchover is in the history", func() error {
		out, _ := e.asks(t, "history", "-f", "json", "-n", "1")
		var list history.List
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if c = list.Changes[0]; len(c.Moves) != 1 || c.Moves[0].To != to.Name || c.Ended.IsZero() {
			return fmt.Errorf("the newest change is %s", out)
		}
		return nil
	})
	s := c.Steps
	if c.Why != history.Leader || c.Outcome != history.Done || c.Moves[0].From != from.Name || c.Moves[0].Timeline == 0 || len(c.Files) != 1 || c.Files[0].Text == "" {
		t.Errorf("it is %+v", c)
	}
	for name, took := range map[string]history.Millis{"detect": s.Detect, "confirm": s.Confirm, "render": s.Render, "reload": s.Reload, "verify": s.Verify, "applied": s.Applied, "total": s.Total} {
		if took <= 0 || took > s.Total {
			t.Errorf("%s took %v ms of %v ms", name, took, s.Total)
		}
	}
	if held != (s.Hold > 0 && s.Release > 0 && s.Held > 0) {
		t.Errorf("held %v: hold %v ms, release %v ms, held %v ms", held, s.Hold, s.Release, s.Held)
	}
	out, _ := e.asks(t, "history", "-n", "1")
	t.Logf("\n%s", out)
}

// isStory wants the log of a switchover to say what an operator would ask about, in its
// order, and little else.
func isStory(t *testing.T, log string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	rest := lines
	for _, want := range []string{"phase: cluster=main is=switching", "traffic held: ", "leader confirmed: ", "phase: cluster=main is=steady", "applied: ", "leader changed: ", "traffic released: "} {
		i := slices.IndexFunc(rest, func(line string) bool { return strings.Contains(line, want) })
		if i < 0 {
			t.Errorf("the log has no %q in its place:\n%s", want, log)
			return
		}
		rest = rest[i+1:]
	}
	if len(lines) > 14 {
		t.Errorf("it takes %d lines:\n%s", len(lines), log)
	}
}

// tells gives pgbouncer's console a command.
func (e *edge) tells(t *testing.T, command string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=postgres dbname=pgbouncer default_query_exec_mode=simple_protocol", e.dir, e.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), command); err != nil {
		t.Fatal(err)
	}
}

// tellsMaster gives HAProxy's master a command.
func tellsMaster(t *testing.T, socket, command string) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintln(c, command); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyAsksTheDaemons: what somebody else told pgbouncer or HAProxy is found out.
func TestVerifyAsksTheDaemons(t *testing.T) {
	consul := servertest.Consul(t)
	c := servertest.Patroni(t, consul, 1)

	t.Run("pgbouncer", func(t *testing.T) {
		e := newEdge(t, consul, c, edgeSettings{vars: `admin_users = ["postgres"]`})
		if out, ok := e.asks(t, "verify"); !ok || !strings.Contains(out, "followed: SHOW DATABASES over ") {
			t.Errorf("all is well, and it says\n%s", out)
		}
		stopDaemon(t, e.daemon)
		good, err := os.ReadFile(e.ini)
		if err != nil {
			t.Fatal(err)
		}
		bad := strings.Replace(string(good), "host=127.0.0.1", "host=127.0.0.2", 1)
		if bad == string(good) {
			t.Fatalf("no host in\n%s", good)
		}
		servertest.File(t, e.ini, bad, 0o644)
		e.tells(t, "RELOAD")
		// It is carried out a moment after it was answered.
		servertest.Eventually(t, "pgbouncer has read it", func() error {
			if _, err := through(e.port).write(t); err == nil {
				return errors.New("it leads to the leader")
			}
			return nil
		})
		servertest.File(t, e.ini, string(good), 0o644)
		if out, ok := e.asks(t, "verify"); ok || !strings.Contains(out, "is still at 127.0.0.2") {
			t.Errorf("pgbouncer leads elsewhere, and it says\n%s", out)
		}
		e.tells(t, "RELOAD")
		if out, ok := e.asks(t, "verify", "-wait", "20s"); !ok {
			t.Errorf("it was told again, and it says\n%s", out)
		}
		e.pooler.Kill()
		if out, ok := e.asks(t, "verify"); ok || !strings.Contains(out, "open console") {
			t.Errorf("pgbouncer is dead, and it says\n%s", out)
		}
	})

	t.Run("haproxy", func(t *testing.T) {
		e, _ := newBalancer(t, consul, c, edgeSettings{})
		if out, ok := e.asks(t, "verify"); !ok || !strings.Contains(out, "followed: show servers of worker ") {
			t.Errorf("all is well, and it says\n%s", out)
		}
		stopDaemon(t, e.daemon)
		master := filepath.Join(e.dir, "master.sock")
		tellsMaster(t, master, "@1 set server primary/leader addr 127.0.0.2 port 5432")
		if out, ok := e.asks(t, "verify"); ok || !strings.Contains(out, "would have to be told: moved primary/leader to 127.0.0.1:") {
			t.Errorf("its server is elsewhere, and it says\n%s", out)
		}
		tellsMaster(t, master, "reload")
		servertest.Eventually(t, "the new worker is not one that was seen to read the files", func() error {
			if out, ok := e.asks(t, "verify"); ok || !strings.Contains(out, "this worker was not seen to read them") {
				return fmt.Errorf("it says\n%s", out)
			}
			return nil
		})
	})
}
