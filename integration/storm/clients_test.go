package storm

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// watch sees what happens on the stage until the returned function is called.
func (s *stage) watch() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { s.findFiles(ctx) })
	all.Go(func() { s.askPooler(ctx) })
	all.Go(func() { s.keepPooler(ctx) })
	for i := range s.progress {
		all.Go(func() { s.client(ctx, i) })
	}
	return func() {
		cancel()
		all.Wait()
		s.readLogs()
	}
}

// each does something again and again.
func each(ctx context.Context, pause time.Duration, do func()) {
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// findFiles notes what lies at the destinations whenever it is another thing.
func (s *stage) findFiles(ctx context.Context) {
	last := map[string]string{}
	each(ctx, 3*time.Millisecond, func() {
		for f := range s.history.Files {
			path := s.file("etc/" + f)
			begun := s.now()
			content, mode, err := found(path)
			if err != nil || last[f] == mode+content {
				continue
			}
			last[f] = mode + content
			e := Event{Kind: Found, File: f, Content: content, Mode: mode, Begun: max(begun-glimpse, 1)}
			s.mu.Lock()
			if s.hands[mode+content] {
				e.By = "hand"
			}
			s.mu.Unlock()
			s.note(e)
		}
	})
}

// found reads a file and its mode, of one and the same file.
func found(path string) (content, mode string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	b := make([]byte, 64<<10)
	n, err := f.Read(b)
	if n == 0 && info.Size() == 0 {
		err = nil
	}
	return string(b[:n]), fmt.Sprintf("%04o", info.Mode().Perm()), err
}

// askPooler looks which databases are paused.
func (s *stage) askPooler(ctx context.Context) {
	var conn *pgx.Conn
	each(ctx, 20*time.Millisecond, func() {
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var err error
		if conn == nil {
			if conn, err = s.console(limited); err != nil {
				conn = nil
				return
			}
		}
		begun := s.now()
		paused, err := databases(limited, conn)
		if err != nil {
			_ = conn.Close(limited)
			conn = nil
			return
		}
		for name, is := range paused {
			s.note(Event{Kind: Paused, Name: name, Is: is, Begun: begun})
		}
	})
	if conn != nil {
		_ = conn.Close(context.Background())
	}
}

func (s *stage) console(ctx context.Context) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/pgbouncer?sslmode=disable&default_query_exec_mode=simple_protocol", s.port))
}

// databases says which of app and ops are paused.
func databases(ctx context.Context, conn *pgx.Conn) (map[string]bool, error) {
	rows, err := conn.Query(ctx, "SHOW DATABASES")
	if err != nil {
		return nil, err
	}
	paused := map[string]bool{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		values, err := row.Values()
		if err != nil {
			return struct{}{}, err
		}
		at := map[string]string{}
		for i, f := range row.FieldDescriptions() {
			at[f.Name] = fmt.Sprint(values[i])
		}
		if at["name"] == "app" || at["name"] == "ops" {
			paused[at["name"]] = at["paused"] == "1"
		}
		return struct{}{}, nil
	})
	return paused, err
}

// client writes one row after the other, and notes who took it.
func (s *stage) client(ctx context.Context, writer int) {
	url := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/app?sslmode=disable&default_query_exec_mode=simple_protocol&connect_timeout=60", s.port)
	var conn *pgx.Conn
	id := 0
	each(ctx, 5*time.Millisecond, func() {
		var err error
		if conn == nil {
			if conn, err = pgx.Connect(ctx, url); err != nil {
				conn = nil
				pause(ctx, 30*time.Millisecond)
				return
			}
		}
		id++
		begun := s.now()
		var port int
		err = conn.QueryRow(ctx, fmt.Sprintf("INSERT INTO rows VALUES (%d, %d) RETURNING inet_server_port()", writer, id)).Scan(&port)
		if err != nil {
			_ = conn.Close(ctx)
			conn = nil
			pause(ctx, 30*time.Millisecond)
			return
		}
		at := s.now()
		for i, m := range s.members {
			if m.Port == port {
				s.note(Event{Kind: Row, Member: name(i), Begun: begun, At: at, Name: strconv.Itoa(writer)})
				s.mu.Lock()
				s.progress[writer] = progress{id, name(i), begun}
				s.mu.Unlock()
			}
		}
	})
	if conn != nil {
		_ = conn.Close(context.Background())
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// readLogs takes up what the program and pgbaton wrote down.
func (s *stage) readLogs() {
	for _, kind := range []Kind{Checked, Loaded} {
		text, _ := os.ReadFile(filepath.Join(s.dir, "log", string(kind)))
		for line := range strings.Lines(string(text)) {
			at, content, _ := strings.Cut(strings.TrimSpace(line), " ")
			ns, err := strconv.ParseInt(at, 10, 64)
			decoded, broken := base64.StdEncoding.DecodeString(content)
			if err := errors.Join(err, broken); err != nil {
				s.t.Errorf("the log of what was %s: %v: %q", kind, err, line)
				continue
			}
			s.note(Event{Kind: kind, Target: app, Content: string(decoded), At: time.Unix(0, ns).Sub(s.began)})
		}
	}
	for _, d := range s.scenes {
		for line := range strings.Lines(d.Output()) {
			stamp, rest, _ := strings.Cut(line, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil || !strings.Contains(rest, " applied: ") {
				continue
			}
			for _, target := range []string{pooler, app} {
				if strings.Contains(rest, "target="+target+" ") && strings.Contains(rest, "proof=followed") {
					s.note(Event{Kind: Claimed, Target: target, At: at.Sub(s.began)})
				}
			}
		}
		if d.Exited() && !s.excused[d] {
			s.note(Event{Kind: Died, Note: tailOf(d.Output())})
		}
	}
}

func tailOf(text string) string { return text[max(0, len(text)-4000):] }
