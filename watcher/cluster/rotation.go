package cluster

import (
	"slices"
	"strconv"
)

// Rotation says which members serve reads, and how much each.
type Rotation struct {
	Floor     int      // if fewer are healthy than that, those that only lag serve too: better stale than none
	Zone      string   // readers of this zone come first; "" knows no zones
	ZoneTag   string   // the tag that has a member's zone
	WeightTag string   // the tag that has a member's weight
	Near      []string // hosts, the nearest first; a reader weighs the less the farther it is
}

// Reader is a member that serves reads, or could.
type Reader struct {
	Member
	Serves bool // it gets new reads
	Drains bool // it gets none, and keeps those that it has: a replica that is not healthy
	Stale  bool // it serves for want of others, though it lags
	Weight int  // 1 to 256, usually 100; 0 if it drains
	Nearby bool // it is in the zone, or there is none to be in
}

// Weights of readers.
const (
	usual    = 100
	heaviest = 256
)

// Readers are all members that serve reads or could, in the order of their names; those
// that Near names come first, in its order. The leader, and who is stopped, do not serve
// now. A tag noloadbalance leaves a member out. In a standby cluster its leader takes no
// writes, and serves reads.
func (c *Cluster) Readers(r Rotation) []Reader {
	var all []Reader
	healthy := 0
	for _, m := range c.Members {
		if m.Host == "" || m.NoLoadBalance() {
			continue
		}
		here := c.StandbyLeader != nil && c.StandbyLeader.Name == m.Name ||
			slices.ContainsFunc(c.Replicas, func(o Member) bool { return o.Name == m.Name })
		reader := Reader{Member: m, Serves: here && m.Healthy, Drains: here && !m.Healthy, Weight: usual, Nearby: true}
		reader.Stale = here && !m.Healthy && m.lagsOnly() // for now: it could
		if n, err := strconv.Atoi(text(m.Tags[r.WeightTag])); r.WeightTag != "" && err == nil && n > 0 {
			reader.Weight = min(n, heaviest)
		}
		if r.Zone != "" {
			reader.Nearby = text(m.Tags[r.ZoneTag]) == r.Zone
		}
		if reader.Serves {
			healthy++
		}
		all = append(all, reader)
	}
	for i := range all {
		m := &all[i]
		if m.Stale = m.Stale && healthy < r.Floor; m.Stale {
			m.Serves, m.Drains = true, false
		}
	}
	order(all, r.Near)
	for i := range all {
		if all[i].Drains {
			all[i].Weight = 0
		}
	}
	return all
}

// order puts the nearest first. Each that is farther gets a quarter of what the one
// before it would.
func order(all []Reader, near []string) {
	if len(near) == 0 {
		return
	}
	rank := func(r Reader) int {
		if i := slices.Index(near, r.Host); i >= 0 {
			return i
		}
		return len(near)
	}
	slices.SortStableFunc(all, func(a, b Reader) int { return rank(a) - rank(b) })
	place, last := -1, -1
	for i := range all {
		if at := rank(all[i]); at != last {
			place, last = place+1, at
		}
		all[i].Weight = max(1, all[i].Weight>>min(2*place, 8))
	}
}

// lagsOnly says whether nothing is wrong with a member but that it lags.
func (m Member) lagsOnly() bool {
	return !slices.ContainsFunc(m.Checks, func(c Check) bool { return !c.Healthy && (c.Kind != ProbeLag || c.Since.IsZero()) })
}

// text is a tag as it is written.
func text(tag any) string {
	switch v := tag.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
