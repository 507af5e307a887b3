package servertest

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed hikari/Pool.java
var poolSource string

// javaClasses are Debian's: HikariCP, pgjdbc, and a log that says nothing.
var javaClasses = []string{"HikariCP.jar", "postgresql.jar", "slf4j-api.jar", "slf4j-nop.jar"}

// Hikari is a Java program with a connection pool.
type Hikari struct{ path string }

// NewHikari compiles the program.
func NewHikari(t testing.TB) *Hikari {
	t.Helper()
	Need(t, "java")
	dir := t.TempDir()
	source := File(t, filepath.Join(dir, "Pool.java"), poolSource, 0o644)
	h := &Hikari{path: dir}
	for _, jar := range javaClasses {
		h.path += ":/usr/share/java/" + jar
	}
	out, err := exec.CommandContext(t.Context(), Need(t, "ecj"), "-proc:none", "-17", "-d", dir, "-cp", h.path, source).CombinedOutput()
	if err != nil {
		t.Fatalf("compile Pool.java: %v\n%s", err, out)
	}
	return h
}

func (h *Hikari) command(args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{"-XX:TieredStopAtLevel=1", "-Xmx64m", "-cp", h.path, "Pool"}, args...)...)
}

// Read is what HikariCP and pgjdbc understand of a properties file, by name.
func (h *Hikari) Read(t testing.TB, file string) map[string]string {
	t.Helper()
	out, err := h.command("read", file).CombinedOutput()
	if err != nil {
		t.Fatalf("read %s: %v\n%s", file, err, out)
	}
	read := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		read[name] = value
	}
	return read
}

// Pool is a pool that a program has open.
type Pool struct {
	proc  *Process
	in    io.Writer
	asked int
}

// Pool opens one on a properties file, and keeps it until the test ends.
func (h *Hikari) Pool(t testing.TB, file string) *Pool {
	t.Helper()
	cmd := h.command("ask", file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pool{proc: Start(t, cmd), in: in}
	Eventually(t, "the pool is ready", func() error {
		if !strings.Contains(p.proc.Output(), "ready\n") {
			return errors.New(p.proc.Output())
		}
		return nil
	})
	return p
}

// Send asks a query, and returns where its answer comes: the first is 0.
func (p *Pool) Send(t testing.TB, query string) int {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, query); err != nil {
		t.Fatal(err)
	}
	p.asked++
	return p.asked - 1
}

// Answer is what came to a query; "" is nothing yet.
func (p *Pool) Answer(n int) string {
	for line := range strings.Lines(p.proc.Output()) {
		if answer, is := strings.CutPrefix(line, "answer: "); is && strings.HasSuffix(line, "\n") {
			if n == 0 {
				return strings.TrimSpace(answer)
			}
			n--
		}
	}
	return ""
}

// Ask asks a query and waits for its answer.
func (p *Pool) Ask(t testing.TB, query string) (answer string) {
	t.Helper()
	n := p.Send(t, query)
	Eventually(t, "the pool answers "+query, func() error {
		if answer = p.Answer(n); answer == "" {
			return errors.New("not yet")
		}
		return nil
	})
	return answer
}
