package status

import "slices"

// told are errors of a target in pgbaton's own words.
var told = map[string]string{
	KindTemplate: "a template can't be rendered, the last good file stays",
	KindCheck:    "the check refuses the files, the last good ones stay",
	KindApply:    "not applied, the last good file stays",
	KindReload:   "the files are in place, but the daemon does not follow",
	KindLocked:   "it does not run yet",
}

// Told is an error of a kind in pgbaton's own words; "" if what is known of it is in
// such words already.
func Told(kind string) string { return told[kind] }

// Public is the status without the words of others, for whoever is no more than
// somebody who can connect.
func (s Status) Public() Status {
	s.Targets = slices.Clone(s.Targets)
	for i := range s.Targets {
		t := &s.Targets[i]
		if t.Error != nil {
			e := *t.Error
			if e.Words, e.Hint = "", ""; e.Text == "" {
				e.Text = "see pgbaton status"
			}
			t.Error = &e
		}
		t.How = ""
		t.Waiting = slices.Clone(t.Waiting)
		for j := range t.Waiting {
			t.Waiting[j].Words = ""
		}
	}
	s.Clusters = slices.Clone(s.Clusters)
	for i := range s.Clusters {
		c := &s.Clusters[i]
		c.Stale = c.Stale.public()
		c.Probes = publicProbes(c.Probes)
		c.Replicas = slices.Clone(c.Replicas)
		for j := range c.Replicas {
			c.Replicas[j].Probes = publicProbes(c.Replicas[j].Probes)
		}
		c.Problems = slices.Clone(c.Problems)
		for j := range c.Problems {
			c.Problems[j].Words = ""
		}
	}
	s.Stores = slices.Clone(s.Stores)
	for i := range s.Stores {
		s.Stores[i].Stale = s.Stores[i].Stale.public()
	}
	s.judge()
	return s
}

func publicProbes(probes []Probe) []Probe {
	probes = slices.Clone(probes)
	for i := range probes {
		probes[i].Words = ""
	}
	return probes
}

func (s *Stale) public() *Stale {
	if s == nil {
		return nil
	}
	p := *s
	p.Words = ""
	return &p
}
