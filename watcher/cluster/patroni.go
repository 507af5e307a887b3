package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
)

// Patroni is Patroni's own settings.
type Patroni struct {
	Scope      string `hcl:"scope,optional" default:"the block's name"` // "" is the block's name
	Namespace  string `hcl:"namespace,optional" default:"\"service\""`  // "" is service
	Datacenter string `hcl:"datacenter,optional" default:"the store's"` // of Consul's; "" is the store's own
	Group      *int   `hcl:"group,optional" default:"none"`             // of Citus; 0 is the coordinator
}

// Source implements Settings.
func (p *Patroni) Source(at Place) (Source, error) {
	s := patroniSource{scope: cmp.Or(p.Scope, at.Name)}
	namespace, group := strings.Trim(cmp.Or(p.Namespace, "service"), "/"), ""
	if p.Group != nil {
		group = strconv.Itoa(*p.Group)
	}
	// A slash at the end: a scope may be the beginning of another's name.
	s.keys = watcher.Query{
		Store: at.Store, Kind: watcher.Prefix, Path: at.Root + path.Join(namespace, s.scope, group) + "/",
		Options: watcher.Options{Datacenter: p.Datacenter},
	}
	return s, nil
}

// Ways implements Settings.
func (p *Patroni) Ways() (all, usual []Way) {
	all = []Way{WayAPI, WaySQL, WayRole}
	return all, all
}

type patroniSource struct {
	scope string
	keys  watcher.Query
}

func (s patroniSource) Scope() string                            { return s.scope }
func (s patroniSource) Queries(watcher.Snapshot) []watcher.Query { return []watcher.Query{s.keys} }

func (s patroniSource) Decode(_ Cluster, known watcher.Snapshot) Cluster {
	pairs, _ := known[s.keys].Value.([]watcher.Pair)
	return DecodePatroni(s.scope, s.keys.Path, pairs)
}

// DecodePatroni reads what Patroni 2, 3 or 4 keeps below a scope. pairs are
// the keys below prefix, as one read returned them. A key that can't be read
// is named in Problems and leaves the rest alone; if the leader's own member
// key is the broken one, the cluster has no Leader.
func DecodePatroni(scope, prefix string, pairs []watcher.Pair) Cluster {
	c := Cluster{Scope: scope, Phase: Starting}
	problem := func(key, format string, args ...any) {
		c.Problems = append(c.Problems, key+": "+fmt.Sprintf(format, args...))
	}
	keys := make(map[string]watcher.Pair, len(pairs))
	for _, p := range pairs {
		key := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(p.Path, "/"), strings.TrimPrefix(prefix, "/")), "/")
		keys[key] = p
		if name, ok := strings.CutPrefix(key, "members/"); ok && name != "" {
			m, err := decodeMember(name, p.Value)
			if err != nil {
				problem(p.Path, "%v", err)
				continue
			}
			c.Members = append(c.Members, m)
		}
		if group, rest, ok := strings.Cut(key, "/"); ok && rest == "leader" && isNumber(group) {
			problem(p.Path, "scope %s holds Citus group %s: set group in the cluster block to choose one", scope, group)
		}
	}
	slices.SortFunc(c.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })

	c.System = strings.TrimSpace(keys["initialize"].Value)
	if p, ok := keys["config"]; ok {
		if err := c.decodeConfig(p.Value); err != nil {
			problem(p.Path, "%v", err)
		}
	}
	if p, ok := keys["sync"]; ok {
		if err := c.decodeSync(p.Value); err != nil {
			problem(p.Path, "%v", err)
		}
	}
	if p, ok := keys["failover"]; ok {
		f, err := decodeFailover(p.Value)
		if err != nil {
			problem(p.Path, "%v", err)
		}
		c.Failover = f
	}

	var leader *Member
	if p, ok := keys["leader"]; ok {
		c.Key = LeaderKey{Name: strings.TrimSpace(p.Value), Session: p.Session, Created: p.CreateIndex}
		if c.Key.Name == "" {
			problem(p.Path, "it is empty")
		} else if leader = c.Member(c.Key.Name); leader == nil {
			problem(p.Path, "it names %s, whose member key is missing or broken", c.Key.Name)
		} else if leader.Host == "" {
			problem(p.Path, "it names %s, whose member key has no conn_url yet", c.Key.Name)
			leader = nil
		}
	}
	if leader != nil && leader.Role == "standby_leader" {
		c.Standby = true
	}
	if leader != nil {
		copied := *leader
		leader = &copied
	}
	c.arrange(leader, nil)
	c.Problems = slices.Compact(slices.Sorted(slices.Values(c.Problems)))
	return c
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

type patroniMember struct {
	ConnURL          string          `json:"conn_url"`
	ProxyURL         string          `json:"proxy_url"`
	APIURL           string          `json:"api_url"`
	State            string          `json:"state"`
	Role             string          `json:"role"`
	Version          string          `json:"version"`
	Timeline         json.RawMessage `json:"timeline"`
	Tags             map[string]any  `json:"tags"`
	Pause            bool            `json:"pause"`
	PendingRestart   bool            `json:"pending_restart"`
	ReplicationState string          `json:"replication_state"`
	XlogLocation     json.RawMessage `json:"xlog_location"`
	ReceiveLSN       json.RawMessage `json:"receive_lsn"`
	ReplayLSN        json.RawMessage `json:"replay_lsn"`
}

func decodeMember(name, value string) (Member, error) {
	if len(name) > maxName {
		return Member{}, fmt.Errorf("its name is longer than %d bytes", maxName)
	}
	m := Member{Name: name}
	if strings.HasPrefix(value, "postgres") { // the form before Patroni 1.0, still read by Patroni itself
		connURL, apiURL, _ := strings.Cut(value, "?application_name=")
		m.API = apiURL
		endpoints, err := parseConnURL(connURL)
		m.setEndpoints(endpoints)
		return m, err
	}
	var p patroniMember
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return m, fmt.Errorf("it is no JSON object: %w", err)
	}
	if p.ConnURL != "" {
		endpoints, err := parseConnURL(p.ConnURL)
		if err != nil {
			return m, err
		}
		m.setEndpoints(endpoints)
	}
	if p.ProxyURL != "" {
		endpoints, err := parseConnURL(p.ProxyURL)
		if err != nil {
			return m, err
		}
		m.Proxy = &endpoints[0]
	}
	m.API, m.State, m.Role, m.Version, m.Tags = p.APIURL, p.State, p.Role, p.Version, p.Tags
	if m.Role == "master" {
		m.Role = "primary"
	}
	m.Paused, m.PendingRestart, m.ReplicationState = p.Pause, p.PendingRestart, p.ReplicationState
	m.Timeline = number(p.Timeline)
	m.Received = number(p.ReceiveLSN)
	m.LSN = max(number(p.XlogLocation), number(p.ReplayLSN))
	return m, nil
}

func (m *Member) setEndpoints(e []Endpoint) {
	m.Endpoints = e
	if len(e) > 0 {
		m.Host, m.Port = e[0].Host, e[0].Port
	}
}

// number reads an integer that some versions write as text, and none at all
// while it is unknown.
func number(raw json.RawMessage) uint64 {
	n, _ := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 64)
	return n
}

func (c *Cluster) decodeConfig(value string) error {
	var conf struct {
		TTL          float64         `json:"ttl"`
		LoopWait     float64         `json:"loop_wait"`
		RetryTimeout float64         `json:"retry_timeout"`
		Pause        bool            `json:"pause"`
		Failsafe     bool            `json:"failsafe_mode"`
		Standby      json.RawMessage `json:"standby_cluster"`
	}
	if err := json.Unmarshal([]byte(value), &conf); err != nil {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	c.TTL, c.LoopWait, c.RetryTimeout = seconds(conf.TTL), seconds(conf.LoopWait), seconds(conf.RetryTimeout)
	c.Paused, c.Failsafe = conf.Pause, conf.Failsafe
	standby := strings.TrimSpace(string(conf.Standby))
	c.Standby = standby != "" && standby != "null" && standby != "{}"
	return nil
}

func (c *Cluster) decodeSync(value string) error {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	var sync struct {
		Standby string `json:"sync_standby"`
	}
	if err := json.Unmarshal([]byte(value), &sync); err != nil {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	for _, name := range strings.Split(sync.Standby, ",") {
		for i := range c.Members {
			if strings.EqualFold(c.Members[i].Name, strings.TrimSpace(name)) {
				c.Members[i].Sync = true
			}
		}
	}
	return nil
}

// decodeFailover reads the failover key; nil if it asks for nothing.
func decodeFailover(value string) (*Failover, error) {
	text := strings.TrimSpace(value)
	if text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "{") { // the form before Patroni 1.0: "leader:member"
		leader, member, _ := strings.Cut(text, ":")
		return &Failover{Leader: leader, Member: member}, nil
	}
	var f struct {
		Leader      string `json:"leader"`
		Member      string `json:"member"`
		Candidate   string `json:"candidate"`
		ScheduledAt string `json:"scheduled_at"`
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	if f.Member == "" {
		f.Member = f.Candidate
	}
	if f.Leader == "" && f.Member == "" {
		return nil, nil
	}
	out := &Failover{Leader: f.Leader, Member: f.Member}
	if f.ScheduledAt != "" {
		at, err := parseTime(f.ScheduledAt)
		if err != nil {
			return nil, fmt.Errorf("scheduled_at: %w", err)
		}
		out.ScheduledAt = at
	}
	return out, nil
}

// parseTime reads the ISO 8601 forms that Python writes.
func parseTime(s string) (time.Time, error) {
	var err error
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05"} {
		var t time.Time
		if t, err = time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}
