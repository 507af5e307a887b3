package baton

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbaton/pgbaton/internal/probe"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

var lagProbe = probe.Probe{
	Name: "lag", Kind: cluster.ProbeLag, Interval: time.Second, Timeout: time.Second,
	Patience: cluster.Patience{Rise: 1, Fall: 1}, Limit: cluster.LagLimit{Delay: 5 * time.Second},
}

// clinic is a health that asks nobody: the test brings the answers.
type clinic struct {
	*health
	baton cluster.Baton
	log   bytes.Buffer
}

func newClinic(t *testing.T, probes ...probe.Probe) *clinic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := probe.New(probe.Config{}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	c := &clinic{}
	c.health = newHealth(ctx, p, probes, hclog.New(&hclog.LoggerOptions{Output: &c.log}))
	c.baton.Term.Leader = "pg1"
	for _, name := range []string{"pg1", "pg2"} {
		c.baton.Seen.Members = append(c.baton.Seen.Members, cluster.Member{Name: name, Host: name, Port: 5432})
	}
	c.keys(0, 0)
	return c
}

// keys has both members' heartbeats come in.
func (c *clinic) keys(leader, replica uint64) {
	members := append([]cluster.Member(nil), c.baton.Seen.Members...)
	members[0].LSN, members[1].LSN = leader, replica
	c.baton.Seen.Members = members
	c.adjust(c.baton, true, time.Now())
}

// says has a member say where it is.
func (c *clinic) says(name string, lsn uint64, err error) {
	now := time.Now()
	c.located(c.wards[name], 0, probe.Position{Recovery: name != "pg1", LSN: lsn, Clock: now, Asked: now}, err)
}

// lags is what there is against pg2 now, "" for nothing.
func (c *clinic) lags() string {
	v := c.verdicts()["pg2"]
	if v.Healthy() {
		return ""
	}
	return v.Checks[0].Why
}

// TestSilenceIsNoProgress: a replica that says nothing more is where it was, while its leader goes
// on; and behind a leader that rests, or is gone, nobody is.
func TestSilenceIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t, lagProbe)
		for s := range 5 {
			c.says("pg1", uint64(100+s), nil)
			c.says("pg2", uint64(100+s), nil)
			time.Sleep(time.Second)
		}
		for range 20 { // nobody writes
			c.says("pg1", 104, nil)
			c.says("pg2", 0, errors.New("no answer"))
			time.Sleep(time.Second)
		}
		if why := c.lags(); why != "" {
			t.Errorf("behind a leader that rests: %s", why)
		}
		for s := range 8 {
			c.says("pg1", uint64(200+s), nil)
			c.says("pg2", 0, errors.New("no answer"))
			time.Sleep(time.Second)
		}
		if why := c.lags(); !strings.HasPrefix(why, "8s behind") && !strings.HasPrefix(why, "7s behind") {
			t.Errorf("behind a leader that goes on: %q", why)
		}
		c.says("pg2", 207, nil)
		for range 20 { // the leader is gone
			c.says("pg1", 0, errors.New("no answer"))
			c.says("pg2", 207, nil)
			time.Sleep(time.Second)
		}
		if why := c.lags(); why != "" {
			t.Errorf("without a leader: %s", why)
		}
		if s := c.log.String(); strings.Count(s, "member is unfit") != 1 || strings.Count(s, "member is fit again") != 1 {
			t.Errorf("the log:\n%s", s)
		}
	})
}

// TestNobodyIsLateForWantOfALeader: what was written by nobody, while nobody led, is missed by
// nobody.
func TestNobodyIsLateForWantOfALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t, lagProbe)
		for range 3 {
			c.says("pg1", 104, nil)
			c.says("pg2", 104, nil)
			time.Sleep(time.Second)
		}
		for range 20 { // pg1 has stepped down
			c.says("pg1", 0, errors.New("no answer"))
			c.says("pg2", 104, nil)
			time.Sleep(time.Second)
		}
		c.baton.Term.Leader = "pg2"
		c.adjust(c.baton, true, time.Now())
		for s, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
			now := time.Now()
			c.located(c.wards["pg2"], 0, probe.Position{LSN: uint64(110 + s), Clock: now, Asked: now}, nil)
			c.located(c.wards["pg1"], 0, probe.Position{Recovery: true, LSN: 104, Clock: now, Asked: now}, nil)
			if v := c.verdicts()["pg1"]; !v.Healthy() || v.Behind.Delay != want || v.Behind.Bytes != uint64(6+s) {
				t.Errorf("after %d s: %+v", s, v)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestLagByKeys: where nobody is let in, the keys tell.
func TestLagByKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := &pgconn.PgError{Code: "28P01", Message: "password authentication failed"}
		c := newClinic(t, lagProbe)
		c.keys(100, 100)
		for _, name := range []string{"pg1", "pg2"} {
			c.says(name, 0, refused)
		}
		if v := c.verdicts()["pg2"]; !v.Healthy() || v.Checks[0].Since.IsZero() || !v.Behind.Timed {
			t.Errorf("after the first answers: %+v", v)
		}
		for s := range 8 { // it stays where it is
			time.Sleep(time.Second)
			c.keys(uint64(110+s), 105)
			c.says("pg2", 0, refused)
		}
		if why := c.lags(); !strings.Contains(why, "behind, more than 5s") {
			t.Errorf("a replica that stands still: %q", why)
		}
		c.keys(120, 120)
		if why := c.lags(); why != "" {
			t.Errorf("it has caught up: %s", why)
		}
	})
}

// TestLateKeys: a store that is slow at the start takes nobody out.
func TestLateKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t, lagProbe)
		members := c.baton.Seen.Members
		c.health = newHealth(c.ctx, c.prober, c.probes, c.health.log)
		time.Sleep(time.Minute)
		c.baton.Seen.Members = members
		c.adjust(c.baton, true, time.Now())
		if until := c.pending(time.Now()); time.Until(until) <= 0 || c.lags() != "" {
			t.Errorf("it waits until %v, and has %q", until, c.lags())
		}
		time.Sleep(time.Minute) // whatever hangs: who was there when it began is out for no want of an answer
		if !c.pending(time.Now()).IsZero() || c.lags() != "" {
			t.Errorf("it waits until %v, and has %q", c.pending(time.Now()), c.lags())
		}
	})
}

// TestNobodyIsLetIn: a password that is wrong takes nobody out.
func TestNobodyIsLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t, probe.Probe{Name: "sql", Kind: cluster.ProbeSQL, Interval: time.Second, Timeout: time.Second, Patience: cluster.Patience{Rise: 1, Fall: 1}})
		for range 3 {
			c.answered(c.wards["pg2"], 0, &pgconn.PgError{Code: "28P01", Message: "password authentication failed"})
		}
		if v := c.verdicts()["pg2"]; !v.Healthy() || !strings.Contains(v.Checks[0].Why, "password authentication") || !c.closed(c.wards["pg2"]) {
			t.Errorf("%+v", v)
		}
		if n := strings.Count(c.log.String(), "a member lets no probe in"); n != 1 {
			t.Errorf("said %d times:\n%s", n, c.log.String())
		}
		c.answered(c.wards["pg2"], 0, errors.New("no answer"))
		if c.lags() == "" || c.closed(c.wards["pg2"]) {
			t.Error("one that does not answer is not out")
		}
	})
}

// TestMeasuresAlone: a probe without a limit takes nobody out, whatever it finds.
func TestMeasuresAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := lagProbe
		free.Limit = cluster.LagLimit{}
		c := newClinic(t, free)
		time.Sleep(time.Minute)
		c.says("pg2", 0, errors.New("no answer"))
		c.says("pg1", 200, nil)
		c.says("pg2", 100, nil)
		if v := c.verdicts()["pg2"]; !v.Healthy() || v.Behind.Bytes != 100 {
			t.Errorf("%+v", v)
		}
	})
}

// TestFirstAnswers: until there was time for an answer, nobody is out for want of one. Who
// comes later shows first that it is well.
func TestFirstAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClinic(t, probe.Probe{Name: "sql", Kind: cluster.ProbeSQL, Interval: time.Second, Timeout: 2 * time.Second, Patience: cluster.Patience{Rise: 1, Fall: 1}})
		if until := c.pending(time.Now()); time.Until(until) < 2*time.Second || c.lags() != "" {
			t.Errorf("at the start: it waits until %v, and has %q", until, c.lags())
		}
		c.answered(c.wards["pg1"], 0, nil)
		c.answered(c.wards["pg2"], 0, nil)
		if !c.pending(time.Now()).IsZero() {
			t.Error("all have answered, and it waits")
		}
		time.Sleep(3 * time.Second)
		c.baton.Seen.Members = append(c.baton.Seen.Members, cluster.Member{Name: "pg3", Host: "pg3"})
		c.adjust(c.baton, true, time.Now())
		if v := c.verdicts()["pg3"]; v.Healthy() || v.Checks[0].Why != "not asked yet" || !c.pending(time.Now()).IsZero() {
			t.Errorf("one that comes later: %+v", v)
		}
		// Its key goes and comes: it is out for as long as it would be.
		c.probes[0].Patience.Dwell = 10 * time.Second
		c.answered(c.wards["pg3"], 0, errors.New("down"))
		all := c.baton.Seen.Members
		for _, members := range [][]cluster.Member{all[:2], all} {
			c.baton.Seen.Members = members
			c.adjust(c.baton, true, time.Now())
			time.Sleep(time.Second)
		}
		c.answered(c.wards["pg3"], 0, nil)
		if v := c.verdicts()["pg3"]; v.Healthy() {
			t.Errorf("one whose key came back: %+v", v)
		}
		gone := c.wards["pg2"]
		c.baton.Seen.Members = c.baton.Seen.Members[:1]
		c.adjust(c.baton, true, time.Now())
		c.answered(gone, 0, errors.New("late"))
		if all := c.verdicts(); len(all) != 1 || strings.Contains(c.log.String(), "late") {
			t.Errorf("of those that are gone: %+v\n%s", all, c.log.String())
		}
	})
}
