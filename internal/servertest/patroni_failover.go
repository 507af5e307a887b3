package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// KillPatroni ends Patroni alone with SIGKILL: its server goes on without it.
// Start brings Patroni back.
func (m *PatroniMember) KillPatroni() { m.proc.Kill() }

// ThawPostgres lets PostgreSQL go on alone: it answers what it was asked while
// it was frozen, and no Patroni tells it that it leads no more.
func (m *PatroniMember) ThawPostgres() { m.signalPostgres(syscall.SIGCONT) }

// RestartPostgres restarts the member's PostgreSQL in place with the real
// patronictl and returns when that does.
func (c *PatroniCluster) RestartPostgres(t testing.TB, m *PatroniMember) {
	t.Helper()
	out := c.Ctl(t, "restart", c.Scope, m.Name, "--force")
	if !strings.Contains(out, "Success: restart on member "+m.Name) {
		t.Fatalf("patronictl restart: %s", out)
	}
}

// ListenAlso makes the servers accept connections at further addresses, on the
// port that they have. It restarts them; what they publish stays the same.
func (c *PatroniCluster) ListenAlso(t testing.TB, hosts ...string) {
	t.Helper()
	for _, m := range c.Members {
		m.listen(t, hosts)
	}
	c.Ctl(t, "reload", c.Scope, "--force")
	for _, m := range c.Members {
		Eventually(t, m.Name+" has read its config", func() error {
			pending, err := m.pendingRestart(t.Context())
			if err == nil && !pending {
				err = errors.New("it wants no restart yet")
			}
			return err
		})
	}
	c.Ctl(t, "restart", c.Scope, "--force")
	c.AwaitReady(t)
}

// listen rewrites the member's config.
func (m *PatroniMember) listen(t testing.TB, hosts []string) {
	t.Helper()
	b, err := os.ReadFile(m.config)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatalf("%s: %v", m.config, err)
	}
	server, _ := config["postgresql"].(map[string]any)
	server["listen"] = fmt.Sprintf("%s:%d", strings.Join(append([]string{m.Host}, hosts...), ","), m.Port)
	if b, err = json.MarshalIndent(config, "", "  "); err != nil {
		t.Fatal(err)
	}
	File(t, m.config, string(b), 0o644)
}

func (m *PatroniMember) pendingRestart(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.API()+"/patroni", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	var st struct {
		PendingRestart bool `json:"pending_restart"`
	}
	return st.PendingRestart, json.NewDecoder(resp.Body).Decode(&st)
}

// Program is the path of the consul that the server runs.
func (s *ConsulServer) Program() string { return s.args[0] }
