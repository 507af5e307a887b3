package proc_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

// look prints what a program may do here, a fact a line.
const look = `
grep -E '^(NoNewPrivs|CapEff|CapBnd|CapAmb):' /proc/self/status
echo "Uid: $(id -u)"
echo "Network: $(readlink /proc/self/ns/net)"
echo "Interfaces: $(tail -n +3 /proc/net/dev | cut -d: -f1 | xargs)"
echo "Secret: ${PGBATON_TEST_TOKEN-none}"
echo "Wanted: ${PGBATON_TEST_WANTED-none}"
echo "Path: ${PATH:+set}"
if grep -q . /proc/$PPID/environ 2>/dev/null; then echo "Parent: open"; else echo "Parent: closed"; fi
`

// sees runs look and returns its facts.
func sees(t *testing.T, confined *proc.Confinement) map[string]string {
	t.Helper()
	out, err := proc.Run(t.Context(), proc.Command{Args: sh(look), Confined: confined})
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, ":")
		facts[name] = strings.TrimSpace(value)
	}
	return facts
}

// as runs the test that calls it once more, by way of a program that changes
// who it is, and says whether this is that run.
func as(t *testing.T, way ...string) (here bool) {
	t.Helper()
	if os.Getenv("PGBATON_TEST_AS") == t.Name() {
		return true
	}
	// By this name, for another user can't find the program where go test put it.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = self.Close() }()
	name := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(servertest.Need(t, way[0]), append(way[1:], "/proc/self/fd/3", "-test.run="+name, "-test.v")...)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PGBATON_TEST_AS="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as %v: %v\n%s", way, err, out)
	}
	return false
}

func TestCheckIsConfined(t *testing.T) {
	t.Setenv("PGBATON_TEST_TOKEN", "a secret")
	t.Setenv("PGBATON_TEST_WANTED", "no secret")
	look := func(t *testing.T) {
		t.Helper()
		free := sees(t, nil)
		for fact, want := range map[string]string{"NoNewPrivs": "0", "Secret": "a secret", "Parent": "open"} {
			if free[fact] != want {
				t.Errorf("without confinement %s is %q, want %q: this test would show nothing", fact, free[fact], want)
			}
		}
		var refused []string
		is := sees(t, &proc.Confinement{
			Env: []string{"PGBATON_TEST_W*"}, Debug: func(message string, args ...any) { refused = append(refused, fmt.Sprint(message, args)) },
		})
		if len(refused) > 0 {
			t.Errorf("the kernel here refuses: %q", refused)
		}
		for fact, want := range map[string]string{
			"NoNewPrivs": "1", "CapAmb": strings.Repeat("0", 16), "Interfaces": "lo", "Secret": "none", "Wanted": "no secret",
			"Path": "set", "Parent": "closed", "Uid": free["Uid"],
		} {
			if is[fact] != want {
				t.Errorf("%s is %q, want %q", fact, is[fact], want)
			}
		}
		if is["Network"] == free["Network"] {
			t.Error("it has our network")
		}
		if with := sees(t, &proc.Confinement{Network: true}); with["Network"] != free["Network"] || with["Parent"] != "closed" || with["NoNewPrivs"] != "1" {
			t.Errorf("with the network it is %v", with)
		}
	}
	t.Run("root", func(t *testing.T) {
		look(t)
		free, is := sees(t, nil), sees(t, &proc.Confinement{})
		// chown, dac_override, dac_read_search, fowner, fsetid, kill, setgid, setuid; net_bind_service, sys_chroot; sys_resource.
		const kept = 0x1_04_04ff
		all, err := strconv.ParseUint(free["CapBnd"], 16, 64)
		if want := fmt.Sprintf("%016x", all&kept); err != nil || is["CapEff"] != want || is["CapBnd"] != want || free["CapEff"] == want {
			t.Errorf("it has %s of %s, want %s of %s", is["CapEff"], is["CapBnd"], want, free["CapEff"])
		}
	})
	t.Run("normal user", func(t *testing.T) {
		// As systemd's AmbientCapabilities= has it.
		if !as(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin") {
			return
		}
		look(t)
		free, is := sees(t, nil), sees(t, &proc.Confinement{})
		if none := strings.Repeat("0", 16); is["CapEff"] != none || free["CapEff"] == none {
			t.Errorf("it has %s, and without confinement %s", is["CapEff"], free["CapEff"])
		}
	})
}

// A kernel that gives no namespace leaves a check with our network, and the
// rest of its confinement.
func TestCheckWithoutNamespaces(t *testing.T) {
	if !as(t, "unshare", "--user", "--map-root-user", "sh", "-c", `echo 0 >/proc/sys/user/max_net_namespaces && exec "$0" "$@"`) {
		return
	}
	var refused []string
	is := sees(t, &proc.Confinement{Debug: func(message string, args ...any) { refused = append(refused, fmt.Sprint(message, args)) }})
	if is["NoNewPrivs"] != "1" || is["Network"] != sees(t, nil)["Network"] {
		t.Errorf("it is %v", is)
	}
	if len(refused) != 1 || !strings.Contains(refused[0], "a network of its own") {
		t.Errorf("said is %q", refused)
	}
}

// What a check's thread gave up must not reach other commands, or pgbaton.
func TestConfinementDoesNotSpread(t *testing.T) {
	before := sees(t, nil)
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			if i%2 == 0 {
				sees(t, &proc.Confinement{})
				return
			}
			for fact, was := range before {
				if is := sees(t, nil)[fact]; is != was {
					t.Errorf("%s of a command beside checks is %q, was %q", fact, is, was)
				}
			}
		})
	}
	all.Wait()
	// Each thread of ours that is left, whatever it did before.
	servertest.Eventually(t, "the threads of the checks have ended", func() error {
		out, _ := exec.Command("sh", "-c", fmt.Sprintf("grep -hs NoNewPrivs /proc/%d/task/*/status | sort -u", os.Getpid())).Output()
		if want := "NoNewPrivs:\t0\n"; string(out) != want {
			return fmt.Errorf("our threads have %q, want %q", out, want)
		}
		return nil
	})
}
