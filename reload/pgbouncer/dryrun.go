package pgbouncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// errReady ends a dry run that went well.
var errReady = errors.New("pgbouncer is ready")

// dryRun starts a pgbouncer on copies of the config and ends it as soon as it
// is ready. It returns what pgbouncer printed, about the originals.
func (d *daemon) dryRun(ctx context.Context, t *tree) (string, error) {
	who, err := reload.WhoChecks("pgbouncer", d.checkUser, t.main.uid, t.main.gid)
	if err != nil {
		return "", err
	}
	dir, err := proc.Scratch()
	if err != nil {
		return "", fmt.Errorf("make directory for a dry run: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	copies, err := copyOut(t, dir, who)
	if err != nil {
		return "", err
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, notifyName), Net: "unixgram"})
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("listen for a dry run's readiness: %w", err), "TMPDIR may be too long a path for a socket")
	}
	defer func() { _ = notify.Close() }()
	if who.Credential != nil {
		// The directory last: from then on it is its user's to change.
		for _, path := range []string{filepath.Join(dir, notifyName), dir} {
			if err := os.Lchown(path, int(who.Credential.Uid), int(who.Credential.Gid)); err != nil {
				return "", fmt.Errorf("hand over directory for a dry run: %w", err)
			}
		}
	}

	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if ready(ctx, notify, dir) {
			// Killed, not asked to leave: all it has lies in the directory that
			// goes now, and its orderly end takes a third of a second.
			end(errReady)
		}
	}()
	out, err := proc.Run(ctx, proc.Command{
		Args:       []string{d.binary, copies.main},
		Env:        proc.Environment{Custom: []string{"NOTIFY_SOCKET=" + filepath.Join(dir, notifyName)}},
		Dir:        t.dir,
		Timeout:    d.timeout,
		Credential: who.Credential,
		Confined:   &d.keeps,
	})
	end(nil)
	<-watched
	out = copies.inPlace(out)
	switch {
	case errors.Is(err, errReady):
		return out, nil
	case err == nil:
		return out, hint.Wrap(fmt.Errorf("run %s: it ended before it was ready: %s", d.binary, words(out)),
			"see whether binary is pgbouncer")
	case proc.SaidNo(err):
		return out, refusal(out, who)
	case errors.Is(err, fs.ErrPermission):
		return out, hint.Wrap(fmt.Errorf("run %s as %s in %s: %w", d.binary, who.Name, t.dir, errors.Unwrap(err)),
			"%s has to be able to enter that directory and to run %s; check_user names another", who.Name, d.binary)
	}
	return out, reload.CannotCheck(fmt.Errorf("check config: %w", inPlace(err, copies)), d.binary, "binary")
}

// inPlace keeps a private path out of the message of a run that gave no answer.
func inPlace(err error, copies *private) error {
	var ran *proc.Error
	if !errors.As(err, &ran) {
		return err
	}
	here := *ran
	here.Output = copies.inPlace(ran.Output)
	return &here
}

// refusal is the error for a config that pgbouncer did not start with.
func refusal(out string, who reload.Identity) error {
	err := reload.Refuse(words(out))
	if strings.Contains(out, "Permission denied") {
		return hint.Wrap(err, "%s has to be able to read it: set user and perms in the template, or check_user to the user that pgbouncer runs as", who.Name)
	}
	return hint.Wrap(err, "correct the template at the line that pgbouncer names")
}

// ready waits until pgbouncer says that it is ready, or accepts connections
// where it is built without a word for systemd. It is false if ctx ends first.
func ready(ctx context.Context, notify *net.UnixConn, dir string) bool {
	const look = 20 * time.Millisecond
	message := make([]byte, 4096)
	for ctx.Err() == nil {
		_ = notify.SetReadDeadline(time.Now().Add(look))
		n, err := notify.Read(message)
		if err == nil {
			for line := range bytes.Lines(message[:n]) {
				if string(bytes.TrimSpace(line)) == "READY=1" {
					return true
				}
			}
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		sockets, _ := filepath.Glob(filepath.Join(dir, ".s.PGSQL.*"))
		for _, path := range sockets {
			if c, err := (&net.Dialer{Timeout: look}).DialContext(ctx, "unix", path); err == nil {
				_ = c.Close()
				return true
			}
		}
	}
	return false
}

// words are the complaints in pgbouncer's log, without their time stamps. The
// line that only says that it gives up is left out if there is another.
func words(out string) string {
	complaint := regexp.MustCompile(`(?m)^.*? \[\d+\] (?:ERROR|FATAL|WARNING)\s+(.*)$`)
	var said []string
	for _, m := range complaint.FindAllStringSubmatch(out, -1) {
		if m[1] == "cannot load config file" && len(said) > 0 {
			continue
		}
		said = append(said, m[1])
	}
	if len(said) == 0 {
		return strings.TrimSpace(out)
	}
	return strings.Join(said, "; ")
}
