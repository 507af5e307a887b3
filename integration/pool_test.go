package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// whereAmI is what a pool is asked: the port of the server that it has come to.
const whereAmI = "SELECT current_setting('port')"

// TestHikariFollowsTheLeader: pools of HikariCP find the leader and the replica that their
// files name, and the next leader, with a file of before.
func TestHikariFollowsTheLeader(t *testing.T) {
	t.Parallel()
	m := newTwoMembers(t, "SET password_encryption = 'scram-sha-256'", `CREATE ROLE app LOGIN PASSWORD 'p:a\ss ''word" é'`)
	for _, s := range []*servertest.Postgres{m.first, m.second} {
		s.Demand(t, "app")
	}
	servertest.File(t, filepath.Join(m.dir, "password"), "p:a\\ss 'word\" é\n", 0o644)
	login := fmt.Sprintf(`database = "app", username = "app", password_file = "%s/password", maximum_pool_size = 2, connection_timeout = 2000, validation_timeout = 1000, connect_timeout = 1`, m.dir)
	leader, leaderFile := m.file("jdbc.properties", "leader.properties", login)
	replica, replicaFile := m.file("jdbc.properties", "replica.properties", login+`, role = "replica"`)
	p := startDaemon(t, m.dir, m.block()+leader+replica, leaderFile, replicaFile)
	hikari := servertest.NewHikari(t)
	writes, reads := hikari.Pool(t, leaderFile), hikari.Pool(t, replicaFile)
	comesTo := func(pool *servertest.Pool, s *servertest.Postgres) {
		t.Helper()
		servertest.Eventually(t, fmt.Sprintf("the pool comes to port %d", s.Port), func() error {
			if answer := pool.Ask(t, whereAmI); answer != fmt.Sprint(s.Port) {
				return errors.New(answer)
			}
			return nil
		})
	}
	comesTo(writes, m.first)
	comesTo(reads, m.second)
	m.move(t)
	comesTo(writes, m.second)
	comesTo(reads, m.second)
	// Who starts now has the next leader at the first attempt.
	servertest.Eventually(t, "the files follow", func() error {
		if text := read(t, leaderFile); !strings.Contains(text, fmt.Sprintf("postgresql://127.0.0.1:%d/", m.second.Port)) {
			return errors.New(text)
		}
		return nil
	})
	if answer := hikari.Pool(t, leaderFile).Ask(t, whereAmI); answer != fmt.Sprint(m.second.Port) {
		t.Errorf("a new pool comes to %s", answer)
	}
	if out := p.Output(); strings.Contains(out, "ss 'word") {
		t.Errorf("the log has a password:\n%s", out)
	}
}

// fileStore is no server: its block stands beside the cluster's.
type fileStore struct{ servertest.DCS }

func (fileStore) Block() string { return "" }

// TestHikariWaitsForAHold: while pgbaton holds a pgbouncer, a pool whose connectionTimeout is
// shorter than the hold fails its application, and one whose is longer does not. The file
// leads to the pooler that the leader's key names.
func TestHikariWaitsForAHold(t *testing.T) {
	t.Parallel()
	m := newTwoMembers(t)
	short, shortFile := m.file("jdbc.properties", "short.properties", `database = "app", username = "postgres", proxy = true, prepare_threshold = 0, connection_timeout = 1000, validation_timeout = 500`)
	long, longFile := m.file("jdbc.properties", "long.properties", `database = "app", username = "postgres", proxy = true, prepare_threshold = 0`)
	e := edgeOf(t, fileStore{}, edgeSettings{cluster: m.block(), blocks: short + long})
	m.say(t, "pg1", [2]int{e.port, 0})
	e.start(t)
	servertest.Eventually(t, "the files are there", func() error {
		if strings.Contains(read(t, longFile), fmt.Sprintf("//127.0.0.1:%d/app?targetServerType=primary&", e.port)) {
			return nil
		}
		return errors.New(e.daemon.Output())
	})
	hikari := servertest.NewHikari(t)
	impatient, patient := hikari.Pool(t, shortFile), hikari.Pool(t, longFile)
	for _, pool := range []*servertest.Pool{impatient, patient} {
		if answer := pool.Ask(t, whereAmI); answer != fmt.Sprint(m.first.Port) {
			t.Fatalf("the pool says %s", answer)
		}
	}

	config := filepath.Join(e.dir, "pgbaton.hcl")
	e.pgbaton(t, "hold", "-config", config, "-target", "edge", "-for", "50s")
	e.isHeld(t, true)
	waits := patient.Send(t, whereAmI)
	if answer := impatient.Ask(t, whereAmI); !strings.HasPrefix(answer, "failed: ") || !strings.Contains(answer, "request timed out after") {
		t.Errorf("the pool with a short connectionTimeout says %s", answer)
	} else {
		t.Log(answer)
	}
	if answer := patient.Answer(waits); answer != "" {
		t.Errorf("the pool with a long connectionTimeout has an answer, %s: nothing was held", answer)
	}
	e.pgbaton(t, "release", "-config", config, "-target", "edge")
	servertest.Eventually(t, "the pool that waited goes on", func() error {
		if answer := patient.Answer(waits); answer != fmt.Sprint(m.first.Port) {
			return fmt.Errorf("it says %q", answer)
		}
		return nil
	})
	servertest.Eventually(t, "the other one too, once it is asked anew", func() error {
		if answer := impatient.Ask(t, whereAmI); answer != fmt.Sprint(m.first.Port) {
			return errors.New(answer)
		}
		return nil
	})
}
