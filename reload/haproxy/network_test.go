package haproxy_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/haproxy"
)

// inItsOwnNetwork runs the test that calls it once more, in a network where the
// resolver is what the test serves at 127.0.0.1, and says whether this is that
// run.
func inItsOwnNetwork(t *testing.T) (here bool) {
	t.Helper()
	if os.Getenv("PGBATON_TEST_AS") == t.Name() {
		return true
	}
	resolver := servertest.File(t, filepath.Join(t.TempDir(), "resolv.conf"), "nameserver 127.0.0.1\n", 0o644)
	cmd := exec.Command(servertest.Need(t, "unshare"), "--mount", "--net", "sh", "-c",
		`ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolver, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "PGBATON_TEST_AS="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// resolver answers whatever is asked for with 10.0.0.9.
func resolver(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for b := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			const header, tail = 12, 4 // bytes before a question's name, and after it
			end := header
			for end < n && b[end] != 0 {
				end += 1 + int(b[end])
			}
			answer := append([]byte(nil), b[:end+1+tail]...)
			kind := binary.BigEndian.Uint16(answer[end+1:])
			copy(answer[2:header], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
			if kind == 1 { // A
				answer[7] = 1
				answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 9)
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
}

// HAProxy refuses names that it can't look up. A check that has no network must
// not do so in its place.
func TestCheckLooksNamesUp(t *testing.T) {
	if !inItsOwnNetwork(t) {
		return
	}
	resolver(t)
	yes, no := true, false
	check := func(network *bool, contents ...string) error {
		d := daemon(t, haproxy.Config{MasterSocket: "/nowhere"})
		confiner, _ := reload.As[reload.Confiner](d)
		if err := confiner.Confine(reload.Keeps{Network: network}); err != nil {
			t.Fatal(err)
		}
		return d.Check(t.Context(), staged(t, contents...))
	}
	backend := "backend other\n  mode tcp\n  server a pg1.example.test:5432\n"
	for name, text := range map[string]string{
		"a server's name": config(1) + backend,
		"a log's name":    "global\n  log logs.example.test:514 local0\n" + config(1),
	} {
		for how, network := range map[string]*bool{"if it takes it": nil, "in any case": &yes} {
			if err := check(network, text); err != nil {
				t.Errorf("%s, with the network %s: %v", name, how, err)
			}
		}
		err := check(&no, text)
		if !errors.Is(err, reload.ErrRefused) || !strings.Contains(hint.Of(err), "check_network = true") {
			t.Errorf("%s, without the network: %v, hint %q", name, err, hint.Of(err))
		}
	}
	if err := check(&no, config(1)); err != nil {
		t.Errorf("addresses alone: %v", err)
	}
	// The second look is for names alone.
	if err := check(nil, config(1)+"  zork\n"+backend); !errors.Is(err, reload.ErrRefused) || !strings.Contains(err.Error(), "zork") {
		t.Errorf("a bad config with names: %v", err)
	}
}
