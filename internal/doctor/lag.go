package doctor

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// standing asks a server where it stands: whether it is a replica, who receives WAL for
// it (anybody may see the process, few its state), whether it has replayed all that it
// received, and how many seconds ago the last transaction that it replayed was
// committed, by the clock of whoever committed it. PostgreSQL 10 or newer.
const standing = `SELECT pg_is_in_recovery(),
	(SELECT pid FROM pg_stat_wal_receiver),
	CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() END,
	CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END`

// stand is the answer.
type stand struct {
	replica  bool
	receiver string         // the process; "" is none
	all      bool           // it has replayed all that it received
	age      *time.Duration // of the last transaction; nil: it replayed none
}

func parseStand(row []string) (stand, error) {
	s := stand{replica: row[0] == "t", receiver: row[1], all: row[2] == "t"}
	if row[3] != "" {
		seconds, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			return s, fmt.Errorf("ask for the lag: %w", err)
		}
		age := time.Duration(max(0, seconds) * float64(time.Second))
		s.age = &age
	}
	return s, nil
}

// memory is what a replica was seen to be. The age of its last transaction alone says
// nothing of a system where nobody writes; so it counts when the replica was last seen to
// have replayed all, with somebody there who receives more: it lacks nothing older.
type memory struct {
	whole    time.Time // when that was; zero is never
	receiver string    // at the last look
}

// errUnknownLag is for a replica of which nothing is known.
var errUnknownLag = hint.Wrap(errors.New("how far the replica is behind is not known: it has replayed no transaction and receives nothing"), "see its log for why it does not reach its primary")

// behind is how far a server is behind at most, as of now.
func (m *memory) behind(s stand, now time.Time) (time.Duration, error) {
	// What a receiver just started has received is what was there before.
	settled := m.receiver == "" && m.whole.IsZero() || m.receiver == s.receiver
	m.receiver = s.receiver
	if !s.replica {
		*m = memory{}
		return 0, nil
	}
	if s.receiver != "" && s.all && settled {
		m.whole = now
		return 0, nil
	}
	var least *time.Duration
	if !m.whole.IsZero() {
		since := now.Sub(m.whole)
		least = &since
	}
	if s.age != nil && (least == nil || *s.age < *least) {
		least = s.age
	}
	if least == nil {
		return 0, errUnknownLag
	}
	return *least, nil
}
