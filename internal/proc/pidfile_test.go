package proc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/servertest"
)

func TestPIDFileFindsAndSignals(t *testing.T) {
	p := servertest.Start(t, exec.Command("sleep", "600"))
	path := filepath.Join(t.TempDir(), "pid")
	for _, content := range []string{"%d", "%d\n", "  %d \nand more lines\n"} {
		servertest.File(t, path, fmt.Sprintf(content, p.Pid()), 0o644)
		for _, names := range [][]string{nil, {"sleep"}, {"other", "sleep"}} {
			r, err := proc.PIDFile{Path: path, Names: names}.Find()
			if err != nil {
				t.Fatalf("%q, %v: %v", content, names, err)
			}
			if r.PID != p.Pid() || !r.Alive() {
				t.Errorf("found %d, alive %v", r.PID, r.Alive())
			}
			r.Close()
		}
	}
	r, err := proc.PIDFile{Path: path}.Find()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "sleep ends", func() error {
		if r.Alive() {
			return fmt.Errorf("%d is alive", r.PID)
		}
		return nil
	})
	if _, err := (proc.PIDFile{Path: path}).Find(); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("after its end: %v", err)
	}
}

func TestPIDFileRefuses(t *testing.T) {
	p := servertest.Start(t, exec.Command("sleep", "600"))
	dir := t.TempDir()
	path := func(content string) string {
		return servertest.File(t, filepath.Join(dir, "pid"), content, 0o644)
	}
	old := servertest.File(t, filepath.Join(dir, "old"), strconv.Itoa(p.Pid()), 0o644)
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		file     func() proc.PIDFile
		mentions string
		hinted   bool
	}{
		{"absent", func() proc.PIDFile { return proc.PIDFile{Path: filepath.Join(dir, "absent")} }, "no such file", true},
		{"empty", func() proc.PIDFile { return proc.PIDFile{Path: path("")} }, "it is empty", false},
		{"blank", func() proc.PIDFile { return proc.PIDFile{Path: path("\n\n")} }, "it is empty", false},
		{"garbage", func() proc.PIDFile { return proc.PIDFile{Path: path("12x\n")} }, `"12x" is no process id`, false},
		{"binary", func() proc.PIDFile { return proc.PIDFile{Path: path("\x00\xff")} }, "is no process id", false},
		{"huge", func() proc.PIDFile { return proc.PIDFile{Path: path("99999999999999999999")} }, "is no process id", false},
		{"process 0", func() proc.PIDFile { return proc.PIDFile{Path: path("0")} }, "not a daemon to signal", true},
		{"process 1", func() proc.PIDFile { return proc.PIDFile{Path: path("1")} }, "not a daemon to signal", true},
		{"everything", func() proc.PIDFile { return proc.PIDFile{Path: path("-1")} }, "not a daemon to signal", true},
		{"pgbaton itself", func() proc.PIDFile { return proc.PIDFile{Path: path(strconv.Itoa(os.Getpid()))} }, "not a daemon to signal", true},
		{"no process", func() proc.PIDFile { return proc.PIDFile{Path: path("2147483646")} }, "does not exist", true},
		{"another's name", func() proc.PIDFile {
			return proc.PIDFile{Path: path(strconv.Itoa(p.Pid())), Names: []string{"keepalived"}}
		}, `it is "sleep", not keepalived`, true},
		{"given out again", func() proc.PIDFile { return proc.PIDFile{Path: old} }, "after the file was written", true},
		{"directory", func() proc.PIDFile { return proc.PIDFile{Path: dir} }, "not a regular file", false},
		{"fifo", func() proc.PIDFile { return proc.PIDFile{Path: fifo} }, "not a regular file", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := tc.file().Find()
			if err == nil {
				r.Close()
				t.Fatal("found a process")
			}
			if !strings.Contains(err.Error(), tc.mentions) || (hint.Of(err) != "") != tc.hinted {
				t.Errorf("error %q (hint %q), want %q", err, hint.Of(err), tc.mentions)
			}
		})
	}

	// A known name vouches for the process, whatever the clock says.
	r, err := proc.PIDFile{Path: old, Names: []string{"sleep"}}.Find()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

func TestPIDFileOfAZombie(t *testing.T) {
	cmd := exec.Command("sleep", "0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	path := servertest.File(t, filepath.Join(t.TempDir(), "pid"), strconv.Itoa(cmd.Process.Pid), 0o644)
	servertest.Eventually(t, "sleep becomes a zombie", func() error {
		r, err := proc.PIDFile{Path: path}.Find()
		if err == nil {
			r.Close()
			return fmt.Errorf("found %d", r.PID)
		}
		if !strings.Contains(err.Error(), "does not exist") {
			return err
		}
		return nil
	})
}
