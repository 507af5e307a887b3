package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/watcher"
)

// Stolon is Stolon's own settings.
type Stolon struct {
	ClusterName string `hcl:"cluster_name,optional" default:"the block's name"`     // "" is the block's name
	Prefix      string `hcl:"prefix,optional" default:"\"stolon/cluster\""`         // "" is stolon/cluster
	Datacenter  string `hcl:"datacenter,optional" default:"the store's, in Consul"` // "" is the store's own
}

// Source implements Settings. Stolon writes its key without a slash before it in
// every store.
func (s *Stolon) Source(at Place) (Source, error) {
	name := cmp.Or(s.ClusterName, at.Name)
	return stolonSource{name, watcher.Query{
		Store: at.Store, Kind: watcher.Key, Path: path.Join(cmp.Or(s.Prefix, "stolon/cluster"), name, "clusterdata"),
		Options: watcher.Options{Datacenter: s.Datacenter},
	}}, nil
}

// Ways implements Settings.
func (s *Stolon) Ways() (all, usual []Way) {
	all = []Way{WaySQL, WayRole}
	return all, all
}

type stolonSource struct {
	scope string
	key   watcher.Query
}

func (s stolonSource) Scope() string                            { return s.scope }
func (s stolonSource) Queries(watcher.Snapshot) []watcher.Query { return []watcher.Query{s.key} }

func (s stolonSource) Decode(before Cluster, known watcher.Snapshot) Cluster {
	pair, is := known[s.key].Value.(watcher.Pair)
	if !is {
		return Cluster{Scope: s.scope, Phase: Starting}
	}
	return DecodeStolon(s.scope, pair, before)
}

// clusterData is what Stolon's sentinel writes. Parts that may be broken alone are
// read one by one.
type clusterData struct {
	FormatVersion uint64                     `json:"formatVersion"`
	Cluster       *stolonCluster             `json:"cluster"`
	Keepers       map[string]json.RawMessage `json:"keepers"`
	DBs           map[string]json.RawMessage `json:"dbs"`
	Proxy         *stolonProxy               `json:"proxy"`
}

type stolonCluster struct {
	Spec struct {
		Role           string          `json:"role"` // "" is master
		FailInterval   json.RawMessage `json:"failInterval"`
		SleepInterval  json.RawMessage `json:"sleepInterval"`
		RequestTimeout json.RawMessage `json:"requestTimeout"`
	} `json:"spec"`
	Status struct {
		Master string `json:"master"` // the UID of the db that the sentinel wants to be it
	} `json:"status"`
}

type stolonProxy struct {
	Generation uint64 `json:"generation"`
	Spec       struct {
		Master string `json:"masterDbUid"` // whom clients may be led to; "" is nobody
	} `json:"spec"`
}

type stolonKeeper struct {
	Status struct {
		CanBeMaster *bool `json:"canBeMaster"`
		CanBeSync   *bool `json:"canBeSynchronousReplica"`
	} `json:"status"`
}

// stolonDB is one life of the data of a keeper: if it has to begin anew, the db is
// another one.
type stolonDB struct {
	uid        string
	Generation int64 `json:"generation"`
	Spec       struct {
		Keeper string `json:"keeperUID"`
		Role   string `json:"role"` // master, standby
	} `json:"spec"`
	Status struct {
		Healthy  bool     `json:"healthy"`
		Current  int64    `json:"currentGeneration"` // the generation that its keeper has brought about
		Host     string   `json:"listenAddress"`
		Port     string   `json:"port"`
		System   string   `json:"systemdID"`
		Timeline uint64   `json:"timelineID"`
		LSN      uint64   `json:"xLogPos"`
		Sync     []string `json:"synchronousStandbys"` // UIDs of dbs, as the server has them
	} `json:"status"`
}

// DecodeStolon reads the clusterdata of Stolon 0.9 or later. before is what it came to
// the last time. Where the whole can't be read, that stays, and the key is named in
// Problems; a db that can't be read leaves the rest alone.
func DecodeStolon(scope string, pair watcher.Pair, before Cluster) Cluster {
	c := Cluster{Scope: scope, Phase: Starting}
	problem := func(format string, args ...any) {
		c.Problems = append(c.Problems, pair.Path+": "+fmt.Sprintf(format, args...))
	}
	data, err := parseClusterData(pair.Value)
	if err != nil {
		if before.Scope != "" {
			c = before
			c.Problems = nil
		}
		problem("%v", err)
		return c
	}
	c.TTL = interval(data.Cluster.Spec.FailInterval, "failInterval", 20*time.Second, problem)
	c.LoopWait = interval(data.Cluster.Spec.SleepInterval, "sleepInterval", 5*time.Second, problem)
	c.RetryTimeout = interval(data.Cluster.Spec.RequestTimeout, "requestTimeout", 10*time.Second, problem)
	c.Standby = data.Cluster.Spec.Role == "standby"

	dbs := data.databases(problem)
	for _, db := range dbs {
		if db.Status.Host == "" && db.Status.Port == "" {
			continue // it is being made
		}
		m, err := db.member()
		if err != nil {
			problem("db %s: %v", db.uid, err)
			continue
		}
		m.Role, m.Tags = data.role(db, m.Name, before), data.tags(db)
		c.Members = append(c.Members, m)
	}
	slices.SortFunc(c.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	data.lead(&c, dbs, before, problem)
	c.Problems = slices.Compact(slices.Sorted(slices.Values(c.Problems)))
	return c
}

func parseClusterData(text string) (*clusterData, error) {
	var data clusterData
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		return nil, fmt.Errorf("it is no clusterdata of Stolon: %w", err)
	}
	switch {
	case data.FormatVersion != 1:
		return nil, fmt.Errorf("its formatVersion is %d, and only 1 is understood", data.FormatVersion)
	case data.Cluster == nil:
		return nil, errors.New("it has no cluster: see stolonctl init")
	}
	if data.Proxy == nil {
		data.Proxy = &stolonProxy{}
	}
	return &data, nil
}

// databases are the newest life of each keeper, in order of their UIDs. Two of one keeper
// are never there for long: the one that leads counts.
func (d *clusterData) databases(problem func(string, ...any)) []stolonDB {
	var all []stolonDB
	for _, uid := range slices.Sorted(maps.Keys(d.DBs)) {
		db := stolonDB{uid: uid}
		if err := json.Unmarshal(d.DBs[uid], &db); err != nil {
			problem("db %s: it can't be read: %v", uid, err)
			continue
		}
		db.Spec.Keeper = cmp.Or(db.Spec.Keeper, uid)
		at := slices.IndexFunc(all, func(other stolonDB) bool { return other.Spec.Keeper == db.Spec.Keeper })
		switch {
		case at < 0:
			all = append(all, db)
		case d.rank(db) > d.rank(all[at]):
			all[at] = db
		}
	}
	return all
}

func (d *clusterData) rank(db stolonDB) int {
	switch {
	case db.uid == d.Proxy.Spec.Master:
		return 3
	case db.uid == d.Cluster.Status.Master:
		return 2
	case db.Status.Healthy && db.Status.Host != "":
		return 1
	}
	return 0
}

func (db stolonDB) member() (Member, error) {
	m := Member{Name: db.Spec.Keeper, State: "unhealthy", Timeline: db.Status.Timeline, LSN: db.Status.LSN}
	if len(m.Name) > maxName {
		return m, fmt.Errorf("its keeperUID is longer than %d bytes", maxName)
	}
	at, err := parseHostPort(net.JoinHostPort(db.Status.Host, db.Status.Port))
	if err == nil && at.Port == 0 {
		err = errors.New("it has no port")
	}
	if err != nil {
		return m, err
	}
	m.setEndpoints([]Endpoint{at})
	switch {
	case db.Status.Healthy && db.Spec.Role == "master":
		m.State = "running"
	case db.Status.Healthy:
		m.State = "streaming"
	}
	return m, nil
}

// role is what a db is, in Patroni's words. One that is to lead does not before its keeper
// has done what it was told last.
func (d *clusterData) role(db stolonDB, name string, before Cluster) string {
	role, leads := "uninitialized", db.uid == cmp.Or(d.Proxy.Spec.Master, d.Cluster.Status.Master)
	switch {
	case db.Spec.Role == "master" && !leads:
		return "demoted" // it is told no more
	case db.Spec.Role == "master":
		role = "primary"
	case db.Spec.Role == "standby" && leads && d.Cluster.Spec.Role == "standby":
		role = "standby_leader"
	case db.Spec.Role == "standby":
		return "replica"
	}
	was := before.Member(name)
	switch {
	case db.Status.Current >= db.Generation:
		return role
	case was != nil && was.Role == role && before.Key.Session == db.uid:
		return role // its generation rises too with each standby that comes or goes
	case role == "primary":
		return "promoted"
	}
	return "replica"
}

// tags are what an operator said of a keeper, in Patroni's words.
func (d *clusterData) tags(db stolonDB) map[string]any {
	var k stolonKeeper
	if json.Unmarshal(d.Keepers[db.Spec.Keeper], &k) != nil {
		return nil // there is no such keeper
	}
	tags := map[string]any{}
	for name, can := range map[string]*bool{"nofailover": k.Status.CanBeMaster, "nosync": k.Status.CanBeSync} {
		if can != nil && !*can {
			tags[name] = true
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return tags
}

// lead fills in who leads, and what follows from it.
func (d *clusterData) lead(c *Cluster, dbs []stolonDB, before Cluster, problem func(string, ...any)) {
	find := func(uid string) *stolonDB {
		if at := slices.IndexFunc(dbs, func(db stolonDB) bool { return db.uid == uid }); at >= 0 {
			return &dbs[at]
		}
		return nil
	}
	uid := d.Proxy.Spec.Master
	_, there := d.DBs[uid]
	db := find(cmp.Or(uid, d.Cluster.Status.Master))
	if db != nil {
		c.System = db.Status.System
		for _, standby := range db.Status.Sync {
			if s := find(standby); s != nil && c.Member(s.Spec.Keeper) != nil {
				c.Member(s.Spec.Keeper).Sync = true
			}
		}
	}
	var leader *Member
	switch {
	case uid == "":
		c.Fenced = true
	case !there:
		c.Fenced = true
		problem("proxy.spec.masterDbUid names db %s, which is not there", uid)
	case before.Key.Session == uid: // without a proxy of Stolon's the generation rises all the time
		c.Key = before.Key
	case db != nil:
		c.Key = LeaderKey{Name: db.Spec.Keeper, Session: uid, Created: d.Proxy.Generation}
	}
	if uid != "" && db != nil {
		if m := c.Member(db.Spec.Keeper); m != nil {
			copied := *m
			leader = &copied
		} else if there {
			problem("proxy.spec.masterDbUid names db %s, which has no address that can be used", uid)
		}
	}
	c.arrange(leader, nil)
}

// interval reads one of the times that Stolon writes as text; usual if it is not there.
func interval(raw json.RawMessage, name string, usual time.Duration, problem func(string, ...any)) time.Duration {
	var text string
	if len(raw) == 0 || string(raw) == "null" {
		return usual
	}
	err := json.Unmarshal(raw, &text)
	d, parsed := time.ParseDuration(text)
	if err != nil || parsed != nil || d < 0 || d > 24*time.Hour {
		problem("cluster.spec.%s is no time up to a day, and counts as %v", name, usual)
		return usual
	}
	return d
}
