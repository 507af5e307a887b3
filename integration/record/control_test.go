//go:build record

package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// query asks a member's server for one value.
func query[T any](t *testing.T, m *servertest.PatroniMember, sql string, args ...any) (value T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), m.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %s: %v", m.Name, sql, err)
	}
	return value
}

// writeWAL makes the members' positions move.
func writeWAL(t *testing.T, m *servertest.PatroniMember, size int) {
	t.Helper()
	query[string](t, m, "SELECT pg_logical_emit_message(false, 'record', repeat('x', $1))::text", size)
}

// freeze stops one of a server's own processes, by its type in
// pg_stat_activity.
func freeze(t *testing.T, m *servertest.PatroniMember, backend string) (thaw func()) {
	t.Helper()
	pid := query[int](t, m, "SELECT pid FROM pg_stat_activity WHERE backend_type = $1", backend)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

// dataFolder is where a member that runs keeps its data.
func dataFolder(t *testing.T, m *servertest.PatroniMember) string {
	t.Helper()
	return query[string](t, m, "SHOW data_directory")
}

// configFile is the configuration of a member that runs: it lies beside the data.
func configFile(t *testing.T, m *servertest.PatroniMember) string {
	t.Helper()
	return filepath.Join(filepath.Dir(dataFolder(t, m)), m.Name+".yml")
}

// configure changes a member's own configuration and makes Patroni read it.
func configure(t *testing.T, m *servertest.PatroniMember, change func(config map[string]any)) {
	t.Helper()
	path := configFile(t, m)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(content, &config); err != nil {
		t.Fatal(err)
	}
	change(config)
	if content, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := post(t.Context(), m, "/reload", nil); err != nil {
		t.Fatalf("%s: reload: %v: %s", m.Name, err, text)
	}
}

// nofailover tags members that may not lead, and waits until their keys say so.
func (s *scene) nofailover(names ...string) {
	s.t.Helper()
	for _, name := range names {
		configure(s.t, s.Member(s.t, name), func(config map[string]any) {
			config["tags"] = map[string]any{"nofailover": true}
		})
		s.until(name+" may not lead", func(s State) bool {
			v, _ := s.value(prefix + "members/" + name)
			return strings.Contains(v, "nofailover")
		})
	}
}

// post asks a member's REST API to do something, and returns what it answers.
func post(ctx context.Context, m *servertest.PatroniMember, path string, body any) (string, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.API()+path, bytes.NewReader(content))
	if err != nil {
		return "", err
	}
	return answer(req)
}

// ask posts and does not wait for the answer.
func (s *scene) ask(m *servertest.PatroniMember, path string, body any) (answer <-chan string) {
	c := make(chan string, 1)
	go func() {
		text, err := post(s.t.Context(), m, path, body)
		c <- fmt.Sprintf("%s: %s (error: %v)", m.Name, text, err)
	}()
	return c
}

// reports is an error until what a member's REST API says at path holds a text.
func reports(ctx context.Context, m *servertest.PatroniMember, path, text string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.API()+path, nil)
	if err != nil {
		return err
	}
	got, err := answer(req)
	if !strings.Contains(got, text) {
		return errors.Join(fmt.Errorf("%s reports %s", m.Name, got), err)
	}
	return nil
}

// answer is the text of an answer, whether or not it is one of success.
func answer(req *http.Request) (string, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// typed runs patronictl and types what it asks for.
func typed(t *testing.T, config, lines string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), servertest.Need(t, "patronictl"), append([]string{"-c", config}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp", "TZ=UTC"}
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("patronictl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
