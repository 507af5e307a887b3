package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
)

// most is how many pgbatons find room in a state folder.
const most = 16

// name is the n-th name of a socket, from 1, and of its lock.
func name(n int) string {
	if n == 1 {
		return "control"
	}
	return fmt.Sprintf("control-%d", n)
}

const ext = ".sock"

// Group is a group that may use the socket; nil is none.
type Group struct {
	ID   int
	Name string // for people
}

// Listen makes a socket in the state folder, for this process alone until it is closed.
// It can be opened by root, the daemon's user, and the members of group; without one, of
// the daemon's own group, who may look. Where the group can't be let in, warn is told,
// and the others are.
func Listen(ctx context.Context, folder state.Folder, group *Group, warn func(error)) (net.Listener, error) {
	for n := 1; n <= most; n++ {
		lock, err := folder.Lock(name(n))
		if errors.Is(err, state.ErrLocked) {
			continue
		}
		if err != nil {
			return nil, explain.Mark(fmt.Errorf("make control socket: %w", err), explain.NoSocket)
		}
		l, err := listen(ctx, folder, n, group, lock, warn)
		if err != nil {
			return nil, errors.Join(explain.Mark(hint.Wrap(fmt.Errorf("make control socket: %w", err), "%s", hint.Of(err)), explain.NoSocket), lock.Close())
		}
		if l != nil {
			return l, nil
		}
		_ = lock.Close()
	}
	err := hint.Wrap(fmt.Errorf("make control socket: %d pgbatons share %s already", most, folder.Dir), "give this one a state_dir of its own")
	return nil, explain.Mark(err, explain.NoSocket)
}

// listen makes the n-th socket. It is nil if somebody answers there all the same, whose
// lock was taken away.
func listen(ctx context.Context, folder state.Folder, n int, group *Group, lock *os.File, warn func(error)) (net.Listener, error) {
	dir, err := os.Open(folder.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	path := filepath.Join(folder.Dir, name(n)+ext)
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if c, err := dial(limited, folder.Dir, n); err == nil {
		return nil, c.Close()
	}
	// It comes to its name when it is ready: whoever finds it there may open it, or may
	// not, as it was meant.
	fresh := "." + name(n) + ext
	if err := os.Remove(filepath.Join(folder.Dir, fresh)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short(dir, fresh), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if group != nil {
		err = errors.Join(os.Lchown(filepath.Join(folder.Dir, fresh), -1, group.ID), letIn(folder.Dir, *group))
		if err != nil {
			warn(hint.Wrap(fmt.Errorf("let the group %s use the control socket: %w", group.Name, err),
				"let pgbaton's user be a member of it, and let it enter %s", folder.Dir))
		}
	}
	err = os.Chmod(filepath.Join(folder.Dir, fresh), 0o660) //nolint:gosec // whoever may look
	if err == nil {
		err = os.Rename(filepath.Join(folder.Dir, fresh), path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socket{UnixListener: l, path: path, lock: lock}, nil
}

// letIn lets a group enter the state folder, and see no list of it, if it may not yet:
// what is in there is closed to it.
func letIn(dir string, group Group) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if info.Mode()&0o001 != 0 || int(owner.Gid) == group.ID && info.Mode()&0o010 != 0 {
		return nil
	}
	if info.Mode()&0o070 != 0 {
		return fmt.Errorf("%s is for another group", dir)
	}
	if err := os.Chown(dir, -1, group.ID); err != nil {
		return err
	}
	return os.Chmod(dir, info.Mode().Perm()|0o010)
}

// short is a path of a socket that fits the 107 bytes that there are for one.
func short(dir *os.File, name string) string {
	if path := filepath.Join(dir.Name(), name); len(path) <= 107 {
		return path
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// socket is a listener whose connections have a Peer as their remote address.
type socket struct {
	*net.UnixListener
	path string
	lock *os.File
}

// Accept implements net.Listener.
func (s *socket) Accept() (net.Conn, error) {
	for {
		c, err := s.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err != nil {
			_ = c.Close() // it has gone again
			continue
		}
		return &conn{c, p}, nil
	}
}

// Close implements net.Listener. The name is gone before the lock is: nobody else's is
// taken away.
func (s *socket) Close() error {
	err := errors.Join(s.UnixListener.Close(), os.Remove(s.path))
	return errors.Join(err, s.lock.Close())
}

type conn struct {
	*net.UnixConn
	peer Peer
}

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.peer }

// dial connects to the n-th socket of a folder.
func dial(ctx context.Context, folder string, n int) (net.Conn, error) {
	dir, err := os.OpenFile(folder, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return (&net.Dialer{}).DialContext(ctx, "unix", short(dir, name(n)+ext))
}
