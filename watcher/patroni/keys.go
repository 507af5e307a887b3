package patroni

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
)

// known is what the rounds before have left. It belongs to whoever asks.
type known struct {
	live    map[string]said // by member: what it said of itself last
	leader  string
	created uint64 // the timeline that leader leads on; 0 before there was one
	writes  bool   // whether leader was seen to have been promoted
	system  string
	config  string // the value of the config key as a member told it; "" if none has
	ttl     time.Duration
	others  []string  // addresses that the members have of each other
	moved   time.Time // when leader became another
}

type said struct {
	live *live
	at   time.Time
}

// remembers is how long what a member said of itself counts while it says nothing.
const remembers = 10 * time.Second

// learn takes up what a round came to. at is when it ended.
func (k *known) learn(c count, at time.Time) {
	if k.live == nil {
		k.live = map[string]said{}
	}
	for name, a := range c.placed {
		if a.live != nil {
			k.live[name] = said{a.live, at}
		}
	}
	for name, s := range k.live {
		listed := slices.ContainsFunc(c.view.members, func(m listed) bool { return m.Name == name })
		if !listed || at.Sub(s.at) > remembers {
			delete(k.live, name)
		}
	}
	k.others = nil
	for _, m := range c.view.members {
		if base, ok := baseOf(m.API); ok {
			k.others = append(k.others, base)
		}
	}
	for _, a := range c.answers {
		if a.config != "" && a.view.leader == c.view.leader {
			k.config = a.config
			k.ttl = ttlOf(a.config)
		}
	}
	k.system = cmp.Or(systemOf(c), k.system)
	k.reign(c.view, at)
}

// systemOf is the system identifier: the leader's, else that of most.
func systemOf(c count) (system string) {
	if a := c.placed[c.view.leader]; a != nil && a.live != nil && a.live.system() != "" {
		return a.live.system()
	}
	votes := map[string]int{}
	for _, a := range c.answers {
		if a.live != nil && a.live.system() != "" {
			votes[a.live.system()]++
		}
	}
	for s, n := range votes {
		if n > votes[system] || n == votes[system] && s < system {
			system = s
		}
	}
	return system
}

// ttlOf is the lifetime of the leader key; 0 if the config does not say.
func ttlOf(config string) time.Duration {
	var c struct {
		TTL float64 `json:"ttl"`
	}
	if json.Unmarshal([]byte(config), &c) != nil || c.TTL < 1 || c.TTL > 86400 {
		return 0
	}
	return time.Duration(c.TTL * float64(time.Second))
}

// reign finds out on which timeline the leader leads. It orders the reigns: a promotion
// begins another one. Whoever is not promoted yet will lead on the next, and so it
// stays the same when he is.
func (k *known) reign(v *view, at time.Time) {
	if v.leader == "" {
		return // whoever led may lead again, in the same reign
	}
	before := *k
	if v.leader != k.leader {
		k.leader, k.created, k.writes, k.moved = v.leader, 0, false, at
	}
	newest := before.created
	for _, m := range v.members {
		if m.Name == v.leader || before.created == 0 {
			newest = max(newest, timeline(m.Timeline))
		}
	}
	l := k.live[v.leader].live
	switch {
	case l != nil && l.State == "running" && l.Role == "primary" && timeline(l.Timeline) > 0:
		k.created, k.writes = timeline(l.Timeline), true
	case k.created > 0:
	case v.standby:
		k.created = max(newest, 1) // nobody is promoted
	case l != nil && l.Role == "replica":
		k.created = max(newest, timeline(l.Timeline)) + 1
	case before.created > 0:
		k.created = max(newest, before.created+1)
	default:
		k.created = max(newest, 1)
	}
}

// keys are Patroni's keys, as far as its REST servers tell them, by their names below
// the scope, and sorted by them.
func (k *known) keys(v *view) []watcher.Pair {
	var pairs []watcher.Pair
	put := func(name, value string) { pairs = append(pairs, watcher.Pair{Path: name, Value: value}) }
	if config := k.configKey(v.paused); config != "" {
		put("config", config)
	}
	if v.failover != "" {
		put("failover", v.failover)
	}
	if k.system != "" {
		put("initialize", k.system)
	}
	if v.leader != "" {
		pairs = append(pairs, watcher.Pair{Path: "leader", Value: v.leader, CreateIndex: k.created, ModifyIndex: k.created})
	}
	var position uint64 // of the leader
	if l := k.live[v.leader].live; l != nil {
		position = number(l.Xlog.Location, 64)
	}
	var standbys []string
	for _, m := range v.members {
		put("members/"+m.Name, k.memberKey(v, m, position))
		if m.Role == "sync_standby" {
			standbys = append(standbys, m.Name)
		}
	}
	if len(standbys) > 0 {
		slices.Sort(standbys)
		put("sync", object(map[string]any{"leader": v.leader, "sync_standby": strings.Join(standbys, ",")}))
	}
	slices.SortFunc(pairs, func(a, b watcher.Pair) int { return strings.Compare(a.Path, b.Path) })
	return pairs
}

// configKey is the config key, with what the view knows better.
func (k *known) configKey(paused bool) string {
	config := map[string]any{}
	if k.config != "" && json.Unmarshal([]byte(k.config), &config) != nil || k.config == "" && !paused {
		return ""
	}
	if delete(config, "pause"); paused {
		config["pause"] = true
	}
	return object(config)
}

// memberKey is a member's key: as the others list it, and as it is by its own word.
func (k *known) memberKey(v *view, m listed, position uint64) string {
	key := map[string]any{"state": m.State, "role": "replica"}
	set := func(name string, value any, is bool) {
		if is {
			key[name] = value
		}
	}
	set("conn_url", "postgres://"+address(m)+"/postgres", m.Host != "")
	set("api_url", m.API, m.API != "")
	set("tags", m.Tags, len(m.Tags) > 0)
	set("timeline", timeline(m.Timeline), timeline(m.Timeline) > 0)
	set("pending_restart", true, m.Restart)
	if lag := number(m.Lag, 64); len(m.Lag) > 0 && m.Lag[0] != '"' && position > lag {
		key["xlog_location"] = position - lag
	}
	if m.Name == v.leader {
		delete(key, "role") // whether it was promoted is not for the others to know
		set("role", "standby_leader", v.standby)
		set("role", "primary", !v.standby && k.writes)
	}
	l := k.live[m.Name].live
	if l == nil {
		return object(key)
	}
	set("version", l.Patroni.Version, l.Patroni.Version != "")
	set("pause", true, l.Pause)
	set("pending_restart", true, l.Restart)
	set("replication_state", l.Replication, l.Replication != "")
	// "unknown" is a server that did not answer its Patroni, which is not down for that;
	// and what is running may be known to be streaming.
	set("state", l.State, l.State != "unknown" && l.State != "" && (l.State != "running" || !slices.Contains([]string{"streaming", "in archive recovery"}, m.State)))
	set("role", l.Role, l.Role != "" && (m.Name != v.leader || l.State == "running" && !v.standby))
	set("timeline", timeline(l.Timeline), timeline(l.Timeline) > 0)
	set("xlog_location", number(l.Xlog.Location, 64), number(l.Xlog.Location, 64) > 0)
	set("xlog_location", number(l.Xlog.Replayed, 64), number(l.Xlog.Replayed, 64) > 0)
	set("receive_lsn", number(l.Xlog.Received, 64), number(l.Xlog.Received, 64) > 0)
	set("replay_lsn", number(l.Xlog.Replayed, 64), number(l.Xlog.Replayed, 64) > 0)
	return object(key)
}

// address is the host and port of a member's server, for a URL. What no host may have
// in it is escaped, so that whoever reads the URL finds it and refuses it.
func address(m listed) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	host := escape(m.Host)
	if ip, err := netip.ParseAddr(m.Host); err == nil && ip.Is6() {
		host = "[" + m.Host + "]"
	}
	if port := strings.Trim(string(m.Port), `"`); port != "" && port != "null" {
		return host + ":" + escape(port)
	}
	return host
}
