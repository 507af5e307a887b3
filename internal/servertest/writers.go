package servertest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Writers write rows through a pooler or a balancer until they are stopped, each
// row once. A row that failed is not written again: whether it was committed is
// not known.
type Writers struct {
	stop context.CancelFunc
	done sync.WaitGroup
	rows string // the database that has their table

	mu     sync.Mutex
	acked  map[int]Ack
	latest map[int]time.Time // by writer: its last acknowledged row
	last   time.Time
	stall  time.Duration // the longest time without an acknowledged row
	errors []error
}

// Ack is a row that a server has said is written.
type Ack struct {
	Server string    // host:port of the server that said so; as in "127.0.0.1:5432"
	Begun  time.Time // when the writer sent it, or began to log in for it
}

// Failure is an error of a transaction.
type Failure struct {
	error
	Begun time.Time
}

func (f Failure) Unwrap() error { return f.error }

// rowsOfAWriter is more than one writes in a test.
const rowsOfAWriter = 1_000_000

// StartWriters starts n writers that connect to a postgres:// URL, and waits
// until they write. Their table, rows, is emptied first.
func StartWriters(t testing.TB, target string, n int) *Writers {
	t.Helper()
	Eventually(t, "the table of rows is there", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, target)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS rows (id int PRIMARY KEY); TRUNCATE rows")
		return err
	})
	// A login waits too where a balancer holds traffic.
	patient, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	settings := patient.Query()
	settings.Set("connect_timeout", "60")
	patient.RawQuery = settings.Encode()

	ctx, cancel := context.WithCancel(t.Context())
	w := &Writers{stop: cancel, acked: map[int]Ack{}, latest: map[int]time.Time{}, last: time.Now(), rows: strings.TrimPrefix(patient.Path, "/")}
	t.Cleanup(func() {
		cancel()
		w.done.Wait()
	})
	for i := range n {
		w.done.Go(func() { w.write(ctx, patient.String(), i*rowsOfAWriter) })
	}
	w.Progress(t, 10*n)
	return w
}

func (w *Writers) write(ctx context.Context, target string, id int) {
	var conn *pgx.Conn
	for ctx.Err() == nil {
		var err error
		ack := Ack{Begun: time.Now()}
		if conn == nil {
			conn, err = pgx.Connect(ctx, target)
		}
		if err == nil {
			id++
			err = conn.QueryRow(ctx, fmt.Sprintf("INSERT INTO rows VALUES (%d) RETURNING host(inet_server_addr()) || ':' || inet_server_port()", id)).Scan(&ack.Server)
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			err = Failure{err, ack.Begun}
		}
		w.note(id, ack, err)
		pause := 2 * time.Millisecond // the machine has servers to run beside them
		if err != nil {
			if conn != nil {
				_ = conn.Close(ctx)
				conn = nil
			}
			pause = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	if conn != nil {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}
}

func (w *Writers) note(id int, ack Ack, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errors = append(w.errors, err)
		return
	}
	w.acked[id] = ack
	now := time.Now()
	w.latest[id/rowsOfAWriter] = now
	w.stall = max(w.stall, now.Sub(w.last))
	w.last = now
}

// Progress waits until n more rows were acknowledged.
func (w *Writers) Progress(t testing.TB, n int) {
	t.Helper()
	want := w.Rows() + n
	Eventually(t, "writers write on", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.acked) < want {
			return fmt.Errorf("%d rows of %d; errors %v", len(w.acked), want, w.errors)
		}
		return nil
	})
}

// Everyone waits until every writer has written since.
func (w *Writers) Everyone(t testing.TB, since time.Time) {
	t.Helper()
	Eventually(t, "every writer writes on", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, at := range w.latest {
			if at.Before(since) {
				return fmt.Errorf("writer %d is stuck since %v; errors %v", i, at, w.errors)
			}
		}
		return nil
	})
}

// Rows is how many rows were acknowledged.
func (w *Writers) Rows() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// Stall is the longest time without an acknowledged row, of any writer.
func (w *Writers) Stall() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stall
}

// Acks are the acknowledged rows that were sent after since.
func (w *Writers) Acks(since time.Time) (list []Ack) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.acked {
		if a.Begun.After(since) {
			list = append(list, a)
		}
	}
	return list
}

// Ack is one acknowledged row.
func (w *Writers) Ack(id int) Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked[id]
}

// Failures are the errors since the last call.
func (w *Writers) Failures() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := w.errors
	w.errors = nil
	return errs
}

// End stops the writers and returns their errors, and the acknowledged rows that
// the member does not have.
func (w *Writers) End(t testing.TB, m *PatroniMember) (failed []error, missing []int) {
	t.Helper()
	w.stop()
	w.done.Wait()
	return w.errors, w.Missing(t, m)
}

// Missing are the rows acknowledged by now that the member does not have.
func (w *Writers) Missing(t testing.TB, m *PatroniMember) (missing []int) {
	t.Helper()
	w.mu.Lock()
	acked := make([]int, 0, len(w.acked))
	for id := range w.acked {
		acked = append(acked, id)
	}
	w.mu.Unlock()
	have := map[int]bool{}
	Eventually(t, m.Name+" tells its rows", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, m.in(w.rows))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		rows, err := conn.Query(ctx, "SELECT id FROM rows")
		if err != nil {
			return err
		}
		there, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err == nil && len(there) == 0 {
			err = errors.New("it has none")
		}
		for _, id := range there {
			have[id] = true
		}
		return err
	})
	for _, id := range acked {
		if !have[id] {
			missing = append(missing, id)
		}
	}
	return missing
}
