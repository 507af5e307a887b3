package repmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbaton/pgbaton/internal/dial"
	"github.com/pgbaton/pgbaton/internal/hint"
)

// node is one server, and the login to it.
type node struct {
	address string
	conn    *pgconn.PgConn // nil unless it is logged in to
	read    *atomic.Int64  // bytes that came over conn since it was asked
	remote  string         // where conn leads to
	without map[part]bool  // what conn may not ask
	silent  int            // how often in a row it did not answer in time
}

// part is one of the questions.
type part uint8

const (
	state part = iota
	rows
	receiver
	control
	local
	parts
)

// questions are asked all at once. The first two have to be answered.
var questions = [parts]string{
	state: `SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END,
	CASE WHEN pg_is_in_recovery() THEN COALESCE(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn,
	COALESCE(pg_last_wal_receive_lsn(), '0/0') - '0/0'::pg_lsn`,
	rows: `SELECT node_id, node_name, type, active, COALESCE(upstream_node_id, 0), conninfo, COALESCE(location, ''), COALESCE(priority, 0)
	FROM repmgr.nodes ORDER BY node_id LIMIT 101`,
	receiver: `SELECT COALESCE(received_tli, 0), COALESCE(status, '') FROM pg_stat_wal_receiver`,
	control:  `SELECT system_identifier, (SELECT timeline_id FROM pg_control_checkpoint()) FROM pg_control_system()`,
	local:    `SELECT COALESCE(repmgr.get_local_node_id(), -1)`,
}

// maxNodes is how many nodes a cluster has at most.
const maxNodes = 100

// document is what one node has said, as the value of its key.
type document struct {
	Address  string `json:"address"`
	ID       int64  `json:"node_id,omitempty"` // 0 if that can't be told
	State    string `json:"state"`             // running, streaming, starting, unreachable
	Reason   string `json:"reason,omitempty"`  // why it isn't running
	Recovery bool   `json:"recovery"`
	Timeline uint64 `json:"timeline,omitempty"`
	System   string `json:"system,omitempty"`
	LSN      uint64 `json:"lsn,omitempty"`      // bytes: what it wrote, or replayed
	Received uint64 `json:"received,omitempty"` // bytes
	Nodes    []row  `json:"nodes,omitempty"`
}

// row is a row of repmgr.nodes.
type row struct {
	ID       int64  `json:"node_id"`
	Name     string `json:"node_name"`
	Type     string `json:"type"` // primary, standby, witness
	Active   bool   `json:"active"`
	Upstream int64  `json:"upstream_node_id,omitempty"`
	ConnURL  string `json:"conn_url,omitempty"` // the hosts and ports of its conninfo
	Bad      string `json:"bad_conninfo,omitempty"`
	Location string `json:"location,omitempty"`
	Priority int64  `json:"priority"`
}

// How long a node may take.
const (
	patience = time.Second     // to answer
	greeting = 2 * time.Second // to log in and to answer
	brief    = 200 * time.Millisecond
	again    = 5 // of so many rounds, one has patience with a node that hangs
)

// ask asks a node, over the login that there is, or a new one. What that comes to is
// always a document.
func (n *node) ask(ctx context.Context, c *Config) (document, error) {
	kept := n.conn != nil
	limit := greeting
	switch {
	case n.silent > 0 && n.silent%again != 0:
		limit = brief
	case kept:
		limit = patience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := n.once(ctx, c)
	if err != nil && kept && ctx.Err() == nil {
		d, err = n.once(ctx, c) // an administrator may end a connection at any time
	}
	if n.silent++; err == nil || ctx.Err() == nil {
		n.silent = 0
	}
	if err == nil {
		return d, nil
	}
	d = document{Address: n.address, State: "unreachable"}
	d.Reason, err = n.explain(ctx, err)
	if d.Reason == starting {
		d.State = "starting"
	}
	return d, err
}

// once logs in if it has to, and asks until nothing is refused.
func (n *node) once(ctx context.Context, c *Config) (document, error) {
	if n.conn == nil {
		if err := n.login(ctx, c); err != nil {
			return document{}, err
		}
	}
	for {
		n.read.Store(0)
		d, refused, err := n.question(ctx)
		if err == nil {
			return d, nil
		}
		if refused <= rows || n.conn.IsClosed() {
			n.close()
			return document{}, err
		}
		n.without[refused] = true
	}
}

func (n *node) login(ctx context.Context, c *Config) error {
	config, err := c.connConfig(n.address)
	if err != nil {
		return err
	}
	read := &atomic.Int64{}
	config.DialFunc = dial.Prompt().DialContext
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(measured{r, read}, w)
		f.SetMaxBodyLen(maxAnswer)
		return f
	}
	if n.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
		n.conn = nil
		return err
	}
	n.read, n.without = read, map[part]bool{}
	n.remote = n.conn.Conn().RemoteAddr().String()
	return nil
}

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 1 << 20

// measured reads no more than an answer may have.
type measured struct {
	io.Reader
	read *atomic.Int64
}

var errHuge = fmt.Errorf("its answer is longer than %d bytes", maxAnswer)

func (m measured) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if m.read.Add(int64(n)) > maxAnswer {
		return n, errHuge
	}
	return n, err
}

func (n *node) close() {
	if n.conn == nil {
		return
	}
	// The server may hang: it is not waited for.
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = n.conn.Close(ctx)
	n.conn = nil
}

// question asks all that may be asked. refused is the part that an error is about.
func (n *node) question(ctx context.Context) (d document, refused part, err error) {
	var asked []part
	var texts []string
	for p := range parts {
		if !n.without[p] {
			asked, texts = append(asked, p), append(texts, questions[p])
		}
	}
	results, err := n.conn.Exec(ctx, strings.Join(texts, ";\n")).ReadAll()
	if err != nil {
		answered := 0 // those before the one that is refused
		for answered < len(results) && results[answered].Err == nil {
			answered++
		}
		return d, asked[min(answered, len(asked)-1)], err
	}
	if len(results) != len(asked) {
		n.close()
		return d, state, errors.New("it answers something else")
	}
	d = document{Address: n.address, State: "running"}
	var at, theirs uint64 // timelines: of what it receives, of its last checkpoint
	for i, p := range asked {
		for _, values := range results[i].Rows {
			if !d.take(p, values, &at, &theirs) {
				return d, p, errors.New("it answers something else")
			}
		}
	}
	if d.Recovery {
		d.Timeline = max(at, theirs)
	}
	return d, state, nil
}

// take takes up one row of an answer; false if it isn't one.
func (d *document) take(p part, values [][]byte, receives, checkpoint *uint64) bool {
	want := [parts]int{state: 4, rows: 8, receiver: 2, control: 2, local: 1}[p]
	if len(values) != want {
		return false
	}
	text := func(i int) string { return string(values[i]) }
	number := func(i, bits int) uint64 {
		n, _ := strconv.ParseUint(text(i), 10, bits)
		return n
	}
	id := func(i int) int64 {
		n, _ := strconv.ParseInt(text(i), 10, 32)
		return n
	}
	switch p {
	case state:
		d.Recovery = text(0) != "f"
		if name := text(1); !d.Recovery && len(name) >= 8 {
			d.Timeline, _ = strconv.ParseUint(name[:8], 16, 32)
		}
		d.LSN, d.Received = number(2, 64), number(3, 64)
	case rows:
		r := row{ID: id(0), Name: text(1), Type: text(2), Active: text(3) == "t", Upstream: id(4), Location: text(6), Priority: id(7)}
		var err error
		if r.ConnURL, err = places(text(5)); err != nil {
			r.Bad = err.Error()
		}
		if d.Nodes = append(d.Nodes, r); len(d.Nodes) > maxNodes {
			return false
		}
	case receiver:
		*receives = number(0, 32)
		if text(1) == "streaming" && d.Recovery {
			d.State = "streaming"
		}
	case control:
		d.System, *checkpoint = text(0), number(1, 32)
		if number(0, 64) == 0 {
			d.System = ""
		}
	case local:
		d.ID = max(id(0), 0)
	}
	return true
}

const starting = "it is starting, or stopping"

// explain says why a node does not answer: in few words, which stay the same while the
// reason does, and as an error.
func (n *node) explain(ctx context.Context, err error) (string, error) {
	named := fmt.Errorf("ask %s: %w", n.address, err)
	var said *pgconn.PgError
	switch {
	case errors.As(err, &said) && strings.HasPrefix(said.Code, "57P0"):
		return starting, named
	case errors.As(err, &said) && said.Code == "42P01", errors.As(err, &said) && said.Code == "3F000":
		return "it has no repmgr.nodes", hint.Wrap(named, "set database in the repmgr block to the one that repmgr has its tables in")
	case errors.As(err, &said) && said.Code == "42501":
		return "it does not let the user read repmgr.nodes", hint.Wrap(named, "GRANT USAGE ON SCHEMA repmgr TO the user, and SELECT ON repmgr.nodes")
	case errors.As(err, &said) && strings.HasPrefix(said.Code, "53"):
		return "it has no place for a login now", named
	case errors.As(err, &said):
		return "it refuses: SQLSTATE " + said.Code, hint.Wrap(named, "set user and password_file in the repmgr block, and let this host in by pg_hba.conf")
	case strings.Contains(err.Error(), "require_auth"):
		return "it wants the password in the clear", hint.Wrap(fmt.Errorf("ask %s: it wants the password in the clear, and has shown no certificate", n.address),
			`set sslmode = "verify-full" in the repmgr block, or let pg_hba.conf ask for scram-sha-256`)
	case ctx.Err() != nil:
		return "it does not answer in time", hint.Wrap(named, "see whether the server hangs")
	}
	return "it can't be reached", hint.Wrap(named, "see whether the server runs, and whether this host may connect to it")
}
