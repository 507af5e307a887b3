//go:build amd64

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/faulttest"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestDisk breaks the disk that the files are on while the leader moves: they stay
// whole, pgbaton says what is wrong, and goes on once it is mended.
func TestDisk(t *testing.T) {
	for name, fault := range map[string]struct {
		says  string
		begin func(t *testing.T, d faulttest.Disk) (mend func())
	}{
		"no space":  {"the disk is full", func(t *testing.T, d faulttest.Disk) func() { return d.Fill(t) }},
		"no inodes": {"the disk is full", func(t *testing.T, d faulttest.Disk) func() { return d.FillNames(t) }},
		"read-only": {"mounted read-only", func(t *testing.T, d faulttest.Disk) func() {
			d.ReadOnly(t, true)
			return func() { d.ReadOnly(t, false) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var disk faulttest.Disk
			s := scriptStandOn(t, func(dir string) { disk = faulttest.NewDisk(t, dir, "size=64k,nr_inodes=32") })
			p := s.run(t, 0)
			for range rounds(t) {
				for _, next := range []int{1, 0} {
					said := strings.Count(p.Output(), fault.says)
					mend := fault.begin(t, disk)
					s.lead(t, next)
					servertest.Eventually(t, "pgbaton says what is wrong", func() error {
						if strings.Count(p.Output(), fault.says) == said {
							return fmt.Errorf("it does not say %q:\n%s", fault.says, p.Output())
						}
						return nil
					})
					if err := s.settled(t, 1-next); err != nil {
						t.Errorf("while the disk is broken: %v", err)
					}
					mend()
					s.follows(t, p, next)
				}
			}
			t.Logf("injected %d times", 2*rounds(t))
		})
	}
}

func TestFolderVanishes(t *testing.T) {
	s := scriptStand(t)
	p := s.run(t, 0)
	dir := filepath.Dir(s.files[0])
	for range rounds(t) {
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		s.lead(t, 1)
		servertest.Eventually(t, "pgbaton says what is wrong", func() error {
			if !strings.Contains(p.Output(), dir+" does not exist") {
				return errors.New(p.Output())
			}
			return nil
		})
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		s.follows(t, p, 1)
		s.lead(t, 0)
		s.follows(t, p, 0)
	}
	t.Logf("injected %d times", rounds(t))
}

// TestOwnerIsNotAllowed: pgbaton's user may not give a file away.
func TestOwnerIsNotAllowed(t *testing.T) {
	s := scriptStand(t)
	config, err := os.ReadFile(s.config())
	if err != nil {
		t.Fatal(err)
	}
	before := s.look(t)
	servertest.File(t, s.config(), strings.Replace(string(config), `perms       = "0600"`, "perms = \"0600\"\n user = \"root\"", 1), 0o644)
	s.lead(t, 0)
	out, err := s.once(t).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "operation not permitted") || !strings.Contains(string(out), "must be allowed to write the folder") {
		t.Errorf("error %v, it says\n%s", err, out)
	}
	for f, i := range s.look(t) {
		if !i.same(before[f]) {
			t.Errorf("%s is another file now", f)
		}
	}
}

// TestHandsInBetween edits, removes, links and chmods the files while the leader moves.
func TestHandsInBetween(t *testing.T) {
	s := scriptStand(t)
	p := s.run(t, 0)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	const trap = "set by hand where files are staged"
	elsewhere := servertest.File(t, filepath.Join(s.dir, "elsewhere"), "somebody else's\n", 0o644)
	hands := []func(path string) error{
		func(path string) error { return os.WriteFile(path, []byte("by hand\n"), 0o600) },
		os.Remove,
		func(path string) error { return os.Chmod(path, 0o666) },
		func(path string) error { return os.Rename(path, path+".old") },
		func(path string) error {
			return errors.Join(os.Remove(path), os.Symlink(elsewhere+"."+filepath.Base(path), path))
		},
		func(path string) error { return os.Truncate(path, 0) },
		func(path string) error { return os.Lchown(path, 0, 0) },
		func(path string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".pgbaton"), []byte(trap), 0o644)
		},
	}
	leader := 0
	for range 40 * rounds(t) {
		if random.IntN(4) == 0 {
			leader = 1 - leader
			s.lead(t, leader)
		}
		// A file that is gone already leaves a hand nothing to do.
		_ = hands[random.IntN(len(hands))](s.files[random.IntN(len(s.files))])
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // hands are slow, some slower than pgbaton
	}
	for _, f := range s.files {
		staged := filepath.Join(filepath.Dir(f), "."+filepath.Base(f)+".pgbaton")
		if content, err := os.ReadFile(staged); err == nil && string(content) == trap {
			_ = os.Remove(staged) // the hand's own, and in nobody's way
		}
	}
	servertest.Eventually(t, "everything is put right", func() error {
		if p.Exited() {
			t.Fatalf("pgbaton ended:\n%s", p.Output())
		}
		if err := s.settled(t, leader); err != nil {
			return fmt.Errorf("%w\n%s", err, p.Output())
		}
		return nil
	})
	t.Logf("injected %d times", 40*rounds(t))
	if content, err := os.ReadFile(elsewhere); err != nil || string(content) != "somebody else's\n" {
		t.Errorf("the file beside holds %q, error %v", content, err)
	}
}

// TestCorruptRecord flips bits of the records, or leaves a part of them.
func TestCorruptRecord(t *testing.T) {
	s := scriptStand(t)
	records, err := filepath.Glob(filepath.Join(s.dir, "state", "*.json"))
	if err != nil || len(records) < 2 {
		t.Fatalf("records %v, error %v", records, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	leader := 1
	for range 30 * rounds(t) {
		for _, path := range records {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := random.IntN(len(content))
			if random.IntN(4) == 0 {
				content = content[:at]
			} else {
				content[at] ^= 1 << random.IntN(8)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		leader = 1 - leader
		s.lead(t, leader)
		s.sync(t)
		if err := s.settled(t, leader); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("injected %d times", 30*len(records)*rounds(t))
}
