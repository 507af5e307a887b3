package probe

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// How a leader is watched over.
const (
	beat      = time.Second      // between two questions to a server that is well
	patient   = 3 * time.Second  // silence that long counts: a checkpoint or a full machine is slower than usual, not that slow
	renew     = 10 * time.Second // an idle connection without a login is replaced: the server would end it
	tryLogin  = 10 * time.Minute // between two logins to a server that refused one
	firstLook = 10 * time.Millisecond
	lastLook  = 250 * time.Millisecond
)

// Pulse watches over a member that leads, until ctx ends, and tells what it
// learns: each time that it learned it, so that it is known to be fresh.
//
// It keeps one idle connection. That the server ends it, or refuses the next
// one, is told at once; that one ends while the next is taken is nothing, for an
// administrator may do so. Silence is told after three seconds. Where it may not
// log in, a connection that stops before the login tells the same, except for
// whether the server is in recovery.
func (p *Prober) Pulse(ctx context.Context, m cluster.Member, tell func(cluster.Evidence)) {
	var silent time.Time // since when
	pause := firstLook
	for ctx.Err() == nil {
		e := cluster.Evidence{Member: m.Name, Way: cluster.WaySQL, At: time.Now()}
		conn, err := p.login(ctx, m)
		if ctx.Err() != nil {
			if err == nil {
				conn.close()
			}
			return
		}
		var what trouble
		if err == nil {
			beats, quiet := p.watch(ctx, conn, tell)
			conn.close()
			if beats > 0 {
				pause = firstLook
			}
			switch {
			case quiet:
				what, silent = slow, e.At
				e.At = time.Now()
			case beats > 0:
				silent = time.Time{}
				continue // why it ended shows at once
			}
		} else {
			what = judge(err)
		}
		if what != slow {
			silent = time.Time{}
		}
		switch what {
		case slow:
			if silent.IsZero() {
				silent = e.At
			}
			if time.Since(silent) >= patient {
				e.Verdict = cluster.Silent
				tell(e)
			}
			continue
		case down:
			e.Verdict = cluster.Gone
			tell(e)
		case refused:
			tell(e)
			p.log.Debug("watching the leader's port alone", "member", m.Name, "error", err)
			p.watchPort(ctx, m, tell)
			pause = firstLook
			continue
		case full:
			tell(e)
			pause = beat
		case unsure:
			tell(e)
		}
		if wait(ctx, pause) != nil {
			return
		}
		pause = longer(pause)
	}
}

// watch asks over a login until it ends. It says how often it was answered, and
// whether it ended for silence.
func (p *Prober) watch(ctx context.Context, conn *sqlConn, tell func(cluster.Evidence)) (beats int, quiet bool) {
	e, err := conn.ask(ctx, patient)
	for err == nil {
		tell(e)
		beats++
		if err = conn.idle(ctx, jitter(beat)); err != nil {
			return beats, false
		}
		e.At = time.Now()
		e.Verdict, err = conn.ping(ctx, patient)
	}
	return beats, ctx.Err() == nil && judge(err) == slow
}

// watchPort watches a port that takes no login of ours, until it ends a
// connection or does not answer, or a login is worth a try again.
func (p *Prober) watchPort(ctx context.Context, m cluster.Member, tell func(cluster.Evidence)) {
	for begun := time.Now(); ctx.Err() == nil && time.Since(begun) < tryLogin; {
		conn, err := knock(ctx, m)
		if err != nil {
			return // Pulse looks into it
		}
		tell(cluster.Evidence{Member: m.Name, Way: cluster.WaySQL, At: time.Now()})
		_ = conn.SetReadDeadline(time.Now().Add(jitter(renew)))
		stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		_, err = conn.Read(make([]byte, 1))
		stop()
		_ = conn.Close()
		if judge(err) != slow {
			return
		}
	}
}

// knock opens a connection and asks whether TLS is spoken: the one question
// that needs no login. A server that speaks it logs a line when we leave.
func knock(ctx context.Context, m cluster.Member) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if len(m.Endpoints) == 0 {
		return nil, hint.Wrap(fmt.Errorf("connect to %s: its key has no address", m.Name), "see Patroni's connect_address")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Endpoints[0].String())
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	answer := make([]byte, 1)
	if _, err = conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// longer is the next pause between two looks.
func longer(pause time.Duration) time.Duration { return min(pause*3/2, lastLook) }

// jitter spreads what many do at the same time: a fifth more or less.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(d*2/5) //nolint:gosec // no secret
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(jitter(d)):
		return nil
	}
}
