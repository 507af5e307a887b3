package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/login"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 1 << 20

// askAPI asks a member's Patroni for the live role of its server. GET /patroni
// looks at pg_is_in_recovery(); GET /primary would say yes for the leader lock
// alone.
func (p *Prober) askAPI(ctx context.Context, m cluster.Member) (cluster.Evidence, error) {
	e := cluster.Evidence{Member: m.Name, Way: cluster.WayAPI, At: time.Now()}
	u, err := url.Parse(m.API)
	if err != nil || u.Host == "" {
		return e, hint.Wrap(fmt.Errorf("ask patroni of %s: its key has no api_url", m.Name), "leave patroni-api out of confirm")
	}
	ask := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/patroni"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ask.String(), nil)
	if err != nil {
		return e, fmt.Errorf("ask patroni of %s: %w", m.Name, err)
	}
	if p.config.API.User != "" {
		password, err := login.Password(p.config.API.PasswordFile)
		if err != nil {
			return e, err
		}
		req.SetBasicAuth(p.config.API.User, password)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return e, fmt.Errorf("ask patroni of %s: %w", m.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return e, hint.Wrap(fmt.Errorf("ask patroni of %s: %s", m.Name, resp.Status), "set user and password_file in the cluster's api block")
	case http.StatusOK, http.StatusServiceUnavailable: // 503: PostgreSQL does not run
	default:
		return e, fmt.Errorf("ask patroni of %s: %s", m.Name, resp.Status)
	}
	var said struct {
		State    string `json:"state"`
		Role     string `json:"role"`
		System   string `json:"database_system_identifier"`
		Timeline uint64 `json:"timeline"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&said); err != nil {
		return e, fmt.Errorf("ask patroni of %s: its answer: %w", m.Name, err)
	}
	e.System, e.Timeline = said.System, said.Timeline
	if said.State != "running" {
		return e, nil // the role is what Patroni remembers
	}
	switch said.Role {
	case "primary", "master":
		e.Verdict = cluster.Writable
	case "replica", "standby_leader":
		e.Verdict = cluster.ReadOnly
	}
	return e, nil
}
