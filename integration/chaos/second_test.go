//go:build amd64

package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// TestSecondFailover moves the leader while the first move is at a step that hangs:
// the second one is followed, be it to a third member or back to the first, and
// nothing of the one between is left once the step goes on.
func TestSecondFailover(t *testing.T) {
	consul := servertest.Consul(t)
	// Each step says where it is, and hangs for the member that the file hang.STEP names.
	step := func(name, file string) string {
		return fmt.Sprintf(`while grep -qxF \"$(cat %[2]s)\" DIR/hang.%[1]s; do touch DIR/at.%[1]s; sleep 0.02; done`, name, file)
	}
	k := newKeyed(t, consul.Client, consul.Addr, beside, keyedSettings{target: fmt.Sprintf(`
  check   = ["sh", "-c", "%s"]
  command = ["sh", "-c", "%s; cp DIR/leader DIR/served.new && mv DIR/served.new DIR/served"]`,
		step("check", "{file:leader}"), step("reload", "DIR/leader"))})
	served := func(n int) error {
		i, err := read(filepath.Join(k.dir, "served"))
		if err == nil && i.content != fmt.Sprintf("pg%d", n) {
			err = fmt.Errorf("the daemon has %q, not pg%d", i.content, n)
		}
		return errors.Join(err, k.shows(n))
	}
	for _, at := range []string{"check", "reload"} {
		for to, next := range map[string]int{"a third": 3, "the first": 1} {
			t.Run("at the "+at+", to "+to, func(t *testing.T) {
				for range rounds(t) {
					k.lead(t, 1)
					servertest.Eventually(t, "pg1 is followed", func() error { return served(1) })
					hang, there := filepath.Join(k.dir, "hang."+at), filepath.Join(k.dir, "at."+at)
					_ = os.Remove(there)
					servertest.File(t, hang, "pg2\n", 0o644)
					k.lead(t, 2)
					servertest.Eventually(t, "the "+at+" hangs", func() error { _, err := os.Stat(there); return err })
					applied := strings.Count(k.daemon.Output(), "applied: ")
					k.lead(t, next)
					servertest.Eventually(t, "the second move is followed", func() error { return served(next) })
					if err := os.Remove(hang); err != nil {
						t.Fatal(err)
					}
					// A further move shows that the one between has not come after.
					k.lead(t, 4-next)
					servertest.Eventually(t, "the next move is followed", func() error { return served(4 - next) })
					if n := strings.Count(k.daemon.Output(), "applied: ") - applied; n > 2 {
						t.Errorf("%d changes were applied, not the last two:\n%s", n, k.daemon.Output())
					}
				}
				t.Logf("injected %d times", rounds(t))
			})
		}
	}
}
