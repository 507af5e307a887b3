//go:build bench

package failover

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// The mode "pgbench": real pgbench clients on a pool of 20, through one
// switchover. A client of pgbench that sees an error gives up.
const (
	pgbenchClients = 500
	pgbenchLength  = 25 * time.Second
)

func (s *stage) pgbench(t *testing.T) string {
	r := &result{title: fmt.Sprintf("pgbench, %d clients, switchover", pgbenchClients), outcomes: map[string][]outcome{}}
	for n := range s.plan.rounds {
		progress("pgbench, round %d of %d", n+1, s.plan.rounds)
		t.Run(fmt.Sprint(n+1), func(t *testing.T) { s.pgbenchRound(t, r) })
	}
	return r.table(contestantNames, titles)
}

func (s *stage) pgbenchRound(t *testing.T, r *result) {
	s.cluster.AwaitReady(s.t)
	s.run++
	e, old := events["switchover"], s.cluster.Leader(t)
	running := map[string]*pgbench{}
	for _, name := range s.plan.contestants {
		if slices.Contains(pooled, name) {
			running[name] = s.startPgbench(t, name)
		}
	}
	pause(t.Context(), 2*calm)
	w := window{begin: time.Now()}
	e.act(s, old)
	leader := s.finish(t, e, old, &w)
	r.recovery = append(r.recovery, w.took.Sub(w.key))
	for _, name := range contestantNames {
		b := running[name]
		if b == nil {
			continue
		}
		diaries := b.finish(t, w.begin)
		// Clients end together; what is left of the time is not measured.
		w.end = b.began.Add(pgbenchLength - time.Second)
		o := measure(diaries, w)
		there, err := s.rowsOf(leader, s.run)
		if err != nil {
			t.Fatal(err)
		}
		o.missing = lost(diaries, there[name])
		r.outcomes[name] = append(r.outcomes[name], o)
		progress("    %-20s stall %s, errors %s, stuck or given up %d", name, seconds(o.fleet.length), errorKinds([]outcome{o}), o.stuck)
	}
}

// pgbench is one of them at work.
type pgbench struct {
	proc  *servertest.Process
	dir   string
	began time.Time
}

func (s *stage) startPgbench(t *testing.T, name string) *pgbench {
	t.Helper()
	d, _, _ := s.open(t, name)
	b := &pgbench{dir: servertest.PostgresDir(t), began: time.Now()}
	// A client's variables outlive its transactions. The sleep is a second on
	// average: 500 writes a second.
	script := fmt.Sprintf("\\set seq :seq + 1\n\\set ms random(500, 1500)\n\\sleep :ms ms\nINSERT INTO %s (run, writer, seq) VALUES (%d, :client_id, :seq);\n",
		table(name), s.run)
	cmd := exec.Command(servertest.Need(t, "pgbench"), "-n", "-c", fmt.Sprint(pgbenchClients), "-D", "seq=0", "-l",
		"-T", fmt.Sprint(int(pgbenchLength.Seconds())), "-f", servertest.File(t, filepath.Join(b.dir, "insert.sql"), script, 0o644), d.bench)
	cmd.Dir = b.dir
	servertest.AsPostgres(t, cmd)
	b.proc = servertest.Start(t, cmd)
	return b
}

// gaveUp is what pgbench prints for a client that saw an error.
var gaveUp = regexp.MustCompile(`(?m)client \d+ .*aborted in .*?: (?:FATAL|ERROR|PANIC)?:? *(.*)$`)

// finish waits for the end and reads the log: a line for each transaction, with
// the client and the time of its end.
func (b *pgbench) finish(t *testing.T, begin time.Time) []*diary {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pgbenchLength+settle)
	defer cancel()
	if err := b.proc.Wait(ctx); ctx.Err() != nil {
		t.Errorf("pgbench: %v", err)
	}
	diaries := make([]*diary, pgbenchClients)
	for i := range diaries {
		diaries[i] = &diary{}
	}
	logs, _ := filepath.Glob(filepath.Join(b.dir, "pgbench_log.*"))
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 6 {
				continue
			}
			client, _ := strconv.Atoi(f[0])
			sec, _ := strconv.ParseInt(f[4], 10, 64)
			usec, _ := strconv.ParseInt(f[5], 10, 64)
			d := diaries[client]
			d.acknowledged(ack{at: time.Unix(sec, usec*1000), seq: len(d.acks) + 1})
		}
	}
	for i, m := range gaveUp.FindAllStringSubmatch(b.proc.Output(), -1) {
		class, _ := classOfText(m[1])
		diaries[i%len(diaries)].failed(failure{at: begin, class: class})
	}
	return diaries
}
