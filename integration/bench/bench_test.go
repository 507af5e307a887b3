//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// programs are built or found before anything is measured.
var programs struct{ floor, receiver, consulTemplate, pgbaton string }

const (
	rounds        = 3
	movesPerRound = 50
	warmUp        = 2 // moves at the start of each turn that do not count

	calm = 400 * time.Millisecond // enough for any of them to finish what it is at
)

func TestLeaderKeyToSignal(t *testing.T) {
	root, bin := servertest.ModuleRoot(t), t.TempDir()
	programs.consulTemplate = servertest.ConsulTemplate(t)
	for _, b := range []struct {
		path *string
		pkg  string
	}{
		{&programs.floor, "./integration/bench/floor"},
		{&programs.receiver, "./integration/bench/receiver"},
		{&programs.pgbaton, "./cmd/pgbaton"},
	} {
		*b.path = filepath.Join(bin, filepath.Base(b.pkg))
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *b.path, b.pkg)
		build.Dir = root
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", b.pkg, err, out)
		}
	}
	fmt.Printf("\nLeader key written to SIGHUP received, %d moves each, in %d turns that alternate.\n%s\n", rounds*movesPerRound, rounds, machine())
	// On a disk, and in memory: what the disk takes is no program's doing.
	disk, memory := t.TempDir(), "/dev/shm"
	for _, m := range []struct {
		store    string
		clusters int
		dir      string
	}{
		{"consul", 1, disk},
		{"consul", 60, disk},
		{"consul", 1, memory},
		{"consul", 60, memory},
		{"consul", 300, memory},
		{"consul", 1000, memory},
		{"etcd", 1, memory},
		{"etcd", 60, memory},
		{"zookeeper", 1, memory},
		{"zookeeper", 60, memory},
	} {
		measure(t, m.store, m.clusters, m.dir)
	}
}

// measure lets the contestants take turns at n clusters and prints the table.
func measure(t *testing.T, in string, n int, dir string) {
	where := []string{fmt.Sprint(n), "on", filesystem(t, dir)}
	if in != "consul" {
		where = slices.Insert(where, 1, in)
	}
	t.Run(strings.Join(where, " "), func(t *testing.T) {
		own, err := os.MkdirTemp(dir, "files-") //nolint:usetesting // on the filesystem that was asked for
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(own) })
		c := newClusters(t, stores[in](t), n)
		all := newContestants(t, c, own)
		pause(t, calm)
		for _, x := range all {
			x.freeze(t)
		}
		c.heartbeats(t)
		for round := range rounds {
			for i := range all {
				all[(i+round)%len(all)].turn(t, c)
			}
		}
		fmt.Printf("\nkeys in %s, files on %s\n", in, filesystem(t, dir))
		printTable(n, all)
	})
}

// turn measures one contestant while the others are stopped.
func (x *contestant) turn(t *testing.T, c *clusters) {
	t.Helper()
	x.thaw(t)
	defer x.freeze(t)
	x.quiet(t) // it catches up with what happened meanwhile
	var cpu time.Duration
	var began time.Time
	for i := range warmUp + movesPerRound {
		if i == warmUp {
			cpu, began = cpuTime(t, x.proc.Pid()), time.Now()
		}
		x.drain()
		c.vacate(t)
		pause(t, spacing)
		at := c.move(t)
		hup := x.hup(t)
		for hup.Before(at) {
			if !x.lags {
				t.Fatalf("%s signalled while there was no leader", x.name)
			}
			hup = x.hup(t)
		}
		if i >= warmUp {
			x.latencies = append(x.latencies, hup.Sub(at))
		}
	}
	pause(t, calm) // nothing may be under way when it is stopped: commands have time limits
	x.cpu += cpuTime(t, x.proc.Pid()) - cpu
	x.turns += time.Since(began)
}

// hup is when the next signal came.
func (x *contestant) hup(t *testing.T) time.Time {
	t.Helper()
	select {
	case at := <-x.hups:
		return at
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: no signal within 30 s of a move; it printed:\n%s", x.name, x.proc.Output())
		return time.Time{}
	}
}

// quiet waits until no signal has come for a while: what happened while it was
// stopped takes some of them a time to work off.
func (x *contestant) quiet(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		select {
		case <-x.hups:
		case <-time.After(3 * calm):
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s goes on signalling though nothing moves", x.name)
		}
	}
}

func (x *contestant) drain() {
	for {
		select {
		case <-x.hups:
		default:
			return
		}
	}
}
