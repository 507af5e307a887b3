//go:build bench

package failover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// route connects a writer. The channel is closed when the connection leads to a
// server that the writer knows to be replaced; nil if nobody tells it.
type route func(ctx context.Context) (*pgconn.PgConn, <-chan struct{}, error)

// through connects to a fixed URL, as an application does.
func through(url string) route {
	return func(ctx context.Context) (*pgconn.PgConn, <-chan struct{}, error) {
		conn, err := pgconn.Connect(ctx, url)
		return conn, nil, err
	}
}

// fleet is a contestant's writers on one database.
type fleet struct {
	table   string
	run     int // rows of different runs share the table
	pace    time.Duration
	again   time.Duration // what a writer waits before it connects again
	multi   bool
	diaries []*diary

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// sail starts n writers, each with a route of its own.
func (f *fleet) sail(t *testing.T, n int, way func() route) {
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	t.Cleanup(f.stop)
	for id := range n {
		d := &diary{}
		f.diaries = append(f.diaries, d)
		f.wg.Go(func() { f.write(ctx, id, way(), d) })
	}
}

// journal is the diaries of all writers; nil if there is no fleet.
func (f *fleet) journal() []*diary {
	if f == nil {
		return nil
	}
	return f.diaries
}

// stop ends the writers. What is in flight is neither acknowledged nor failed.
func (f *fleet) stop() {
	f.cancel()
	f.wg.Wait()
}

// write inserts rows until ctx ends. Each error costs it the connection.
func (f *fleet) write(ctx context.Context, id int, way route, d *diary) {
	var conn *pgconn.PgConn
	var moved <-chan struct{}
	leave := func() {
		if conn == nil {
			return
		}
		leaving := conn
		conn = nil
		f.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = leaving.Close(ctx)
		})
	}
	defer func() { leave() }()
	for seq := 1; ctx.Err() == nil; {
		select {
		case <-moved:
			leave()
			moved = nil
		default:
		}
		var err error
		if conn == nil {
			if conn, moved, err = way(ctx); err != nil {
				conn = nil
			}
		}
		wait := f.pace
		if err == nil {
			var port int
			if port, err = f.insert(ctx, conn, moved, id, seq); err == nil {
				d.acknowledged(ack{at: time.Now(), seq: seq, port: port})
			}
			seq++
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			d.failed(failure{at: time.Now(), class: class(err)})
			leave()
			wait = f.again
		}
		if wait > 0 {
			wait += rand.N(wait/4 + 1)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// insert writes a row and returns the port of the server that took it. It has no
// time limit: as with most applications, a query lasts as long as it lasts.
func (f *fleet) insert(ctx context.Context, conn *pgconn.PgConn, moved <-chan struct{}, id, seq int) (int, error) {
	if moved != nil {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		done := make(chan struct{})
		defer close(done)
		f.wg.Go(func() {
			select {
			case <-moved:
				cancel(errMoved)
			case <-done:
			}
		})
	}
	port, err := f.transaction(ctx, conn, id, seq)
	if err != nil && errors.Is(context.Cause(ctx), errMoved) {
		err = errMoved
	}
	return port, err
}

func (f *fleet) transaction(ctx context.Context, conn *pgconn.PgConn, id, seq int) (int, error) {
	insert := fmt.Sprintf("INSERT INTO %s (run, writer, seq) VALUES (%d, %d, %d) RETURNING inet_server_port()", f.table, f.run, id, seq)
	if !f.multi {
		return number(ctx, conn, insert)
	}
	// A row that nobody looks for comes first: it has no sequence number of a writer's.
	for _, sql := range []string{"BEGIN", fmt.Sprintf("INSERT INTO %s (run, writer, seq) VALUES (%d, %d, %d)", f.table, f.run, id, -seq)} {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return 0, err
		}
	}
	port, err := number(ctx, conn, insert)
	if err != nil {
		return 0, err
	}
	results, err := conn.Exec(ctx, "COMMIT").ReadAll()
	if err == nil && (len(results) != 1 || results[0].CommandTag.String() != "COMMIT") {
		err = errors.New("rolled back")
	}
	return port, err
}

// number is the one number that a query returns, in the simple protocol.
func number(ctx context.Context, conn *pgconn.PgConn, sql string) (int, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return 0, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return 0, errors.New("not one row")
	}
	return strconv.Atoi(string(results[0].Rows[0][0]))
}
