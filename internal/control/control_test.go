package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/servertest"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
)

// asPeer makes this test binary somebody who freezes a target of the socket in a
// folder, and prints what came of it.
const asPeer = "PGBATON_TEST_PEER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asPeer); dir != "" {
		freezeAsPeer(dir)
		return
	}
	os.Exit(m.Run())
}

func freezeAsPeer(dir string) {
	found, err := Find(context.Background(), dir)
	if err != nil || len(found) == 0 {
		fmt.Printf("found %d: %v\n", len(found), err)
		return
	}
	fmt.Println("it says: " + found[0].Status.Line)
	r, err := found[0].Freeze(context.Background(), Word{Target: "exec.app", Reason: "test", Sudo: "alice", By: "somebody else"})
	fmt.Printf("freeze: %s %v\nforbidden: %v\nhint: %s\n", r.Text, err, errors.Is(err, ErrForbidden), hint.Of(err))
}

// echo answers with the word that it got.
type echo struct {
	mu    sync.Mutex
	words []Word
}

func (e *echo) Status() status.Status {
	return status.Of(time.Now(), status.Process{}, []status.Target{{ID: "exec.app"}}, nil, nil)
}

func (e *echo) Log() string { return "a line\n" }

func (e *echo) History() []history.Change { return []history.Change{{ID: 7, Target: "exec.app"}} }

func (e *echo) Freeze(_ context.Context, w Word) (Reply, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.words = append(e.words, w)
	return Reply{Done: true, Text: "frozen by " + w.By}, nil
}

func (e *echo) Thaw(_ context.Context, w Word) (Reply, error) {
	if w.Target == "exec.none" {
		return Reply{}, Because(ErrNoTarget, "there is no target exec.none")
	}
	return Reply{}, hint.Wrap(Because(ErrRefused, "no"), "try again")
}

// Apply waits for whoever asked to go away.
func (e *echo) Apply(ctx context.Context, _ Word) (Reply, error) {
	<-ctx.Done()
	return Reply{}, ErrStopping
}

// serve serves an echo from a socket in a folder, until the test ends.
func serve(t *testing.T, dir string, group *Group) *echo {
	t.Helper()
	l, err := Listen(t.Context(), state.Folder{Dir: dir}, group, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{}
	server := Server(e, group)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(status.Limit(l)) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return e
}

// peer runs this test binary as a user with some groups.
func peer(t *testing.T, dir string, uid, gid uint32, groups ...uint32) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Where everybody may run it.
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := servertest.PostgresDir(t) + "/peer"
	if err := os.WriteFile(program, content, 0o755); err != nil { //nolint:gosec // as it says
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = []string{asPeer + "=" + dir, "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Who may look, and who may change something. The daemon is root here, and so is its
// group; the folder lets everybody enter, or nobody.
func TestPeers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is several users: run it as root")
	}
	const nobody, others, dba = 65534, 4711, 4712
	for name, c := range map[string]struct {
		closed bool
		group  *Group
		uid    uint32
		gid    uint32
		more   []uint32
		want   []string
	}{
		"root":                          {false, nil, 0, 0, nil, []string{"it says: 0 of 1", "freeze: frozen by root, via sudo by alice <nil>"}},
		"the daemon's group":            {false, nil, nobody, 0, nil, []string{"it says: 0 of 1", "may look, but change nothing; root may", "forbidden: true", "hint: run it as one of them; or name a group"}},
		"the daemon's group as another": {false, nil, nobody, others, []uint32{0}, []string{"it says: 0 of 1", "forbidden: true"}},
		"a stranger":                    {false, nil, nobody, others, nil, []string{"found 0: ", "permission denied"}},
		"the group":                     {false, &Group{dba, "dba"}, nobody, dba, nil, []string{"it says: 0 of 1", "freeze: frozen by nobody <nil>"}},
		"the group, beside another":     {false, &Group{dba, "dba"}, nobody, others, []uint32{1, 2, dba}, []string{"it says: 0 of 1", "freeze: frozen by nobody <nil>"}},
		"the group, in a closed folder": {true, &Group{dba, "dba"}, nobody, others, []uint32{dba}, []string{"it says: 0 of 1", "freeze: frozen by nobody <nil>"}},
		"not the group":                 {false, &Group{dba, "dba"}, nobody, 0, nil, []string{"found 0: ", "permission denied"}},
		"not even into the folder":      {true, nil, nobody, 0, nil, []string{"found 0: ", "permission denied"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := servertest.PostgresDir(t) // which everybody may enter
			if err := os.Chown(dir, 0, 0); err != nil {
				t.Fatal(err)
			}
			if c.closed {
				if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // closed it is
					t.Fatal(err)
				}
			}
			e := serve(t, dir, c.group)
			out := peer(t, dir, c.uid, c.gid, c.more...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if froze := strings.Contains(out, "freeze: frozen"); froze != (len(e.words) == 1) {
				t.Errorf("the daemon heard %+v", e.words)
			}
			if c.closed && c.group != nil {
				if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o710 {
					t.Errorf("the folder is %v, %v: it is to be entered, and not read", info.Mode(), err)
				}
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, nil)
	found, err := Find(t.Context(), dir)
	if err != nil || len(found) != 1 || !found[0].Has("exec.app") || found[0].Has("exec.none") {
		t.Fatalf("found %+v, %v", found, err)
	}
	if _, err := found[0].Thaw(t.Context(), Word{Target: "exec.none"}); !errors.Is(err, ErrNoTarget) || err.Error() != "there is no target exec.none" {
		t.Errorf("a target that is not there: %v", err)
	}
	if _, err := found[0].Thaw(t.Context(), Word{Target: "exec.app"}); !errors.Is(err, ErrRefused) || err.Error() != "no" || hint.Of(err) != "try again" {
		t.Errorf("refused: %v, hint %q", err, hint.Of(err))
	}
	if _, err := found[0].Freeze(t.Context(), Word{Target: "exec.app", For: -1}); err == nil || !strings.Contains(err.Error(), "less than zero") {
		t.Errorf("less than no time: %v", err)
	}
	if _, err := found[0].Freeze(t.Context(), Word{Target: "exec.app", Reason: strings.Repeat("x", 1001)}); err == nil || !strings.Contains(err.Error(), "longer than 1000 bytes") {
		t.Errorf("a long reason: %v", err)
	}
}

// A word of somebody who goes away is given up.
func TestClientGoesAway(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, nil)
	found, err := Find(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := found[0].Apply(ctx, Word{Target: "exec.app"})
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("apply: %v", err)
	}
}

// One that ends while it is asked is not there.
func TestEndsWhileItIsAsked(t *testing.T) {
	dir := t.TempDir()
	l, err := Listen(t.Context(), state.Folder{Dir: dir}, nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = errors.Join(l.Close(), c.Close())
		}
		ends <- err
	}()
	if found, err := Find(t.Context(), dir); err != nil || len(found) != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := <-ends; err != nil {
		t.Error(err)
	}
}

// Several share a folder, each by a socket of its own. What a killed one left is taken
// over, and what is not one's own is left alone.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	folder := state.Folder{Dir: dir}
	warn := func(err error) { t.Error(err) }
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "control.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := Find(t.Context(), dir); err != nil || len(found) != 0 {
		t.Errorf("nobody is there: %+v, %v", found, err)
	}
	serve(t, dir, nil)
	serve(t, dir, nil)
	if found, err := Find(t.Context(), dir); err != nil || len(found) != 2 {
		t.Errorf("two are there: %+v, %v", found, err)
	}
	// Somebody has removed the locks of those that live.
	for n := 1; n <= 2; n++ {
		if err := os.Remove(filepath.Join(dir, name(n)+".lock")); err != nil {
			t.Fatal(err)
		}
	}
	third, err := Listen(t.Context(), folder, nil, warn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "control-3.sock")); err != nil {
		t.Errorf("the third one: %v", err)
	}
	if found, err := Find(t.Context(), dir); len(found) != 2 || err == nil || !strings.Contains(err.Error(), "does not answer: no answer within 5s") {
		t.Errorf("two answer, and one does not serve: %+v, %v", found, err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "control-3.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("closed, it stays: %v", err)
	}
}

// A folder whose path leaves no room for a socket's has one all the same.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "state")
	serve(t, dir, nil)
	if found, err := Find(t.Context(), dir); err != nil || len(found) != 1 {
		t.Errorf("found %+v, %v", found, err)
	}
}

// A body that never ends is given up, and so is one that is none.
func TestBadBodies(t *testing.T) {
	dir := t.TempDir()
	e := serve(t, dir, nil)
	for _, body := range []string{"", "{", "[]", `{"target": 1}`, `{"reason": "` + strings.Repeat("x", 100<<10) + `"}`} {
		c, err := dial(t.Context(), dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "POST /v1/freeze HTTP/1.0\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if answer := string(buf[:n]); !strings.HasPrefix(answer, "HTTP/1.0 400") {
			t.Errorf("%.20q: %v %s", body, err, answer)
		}
		_ = c.Close()
	}
	if len(e.words) > 0 {
		t.Errorf("the daemon heard %+v", e.words)
	}
}

// What a client says of himself is not believed.
func TestWordHasNoName(t *testing.T) {
	content, err := json.Marshal(Word{By: "root"})
	if err != nil || strings.Contains(string(content), "root") {
		t.Errorf("%s, %v", content, err)
	}
}
