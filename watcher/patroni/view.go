package patroni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of what a member may say. A cluster of a hundred members is none.
const (
	maxAnswer  = 1 << 20 // bytes
	maxMembers = 100
	maxName    = 255 // bytes
)

// view is what a member has read in the store, as GET /cluster tells it.
type view struct {
	scope    string // "" before Patroni 3.2
	leader   string // a member's name; "" if nobody leads
	standby  bool   // it leads a standby cluster
	members  []listed
	paused   bool
	failover string // the value of the failover key, as far as it is scheduled; "" if it isn't
}

// listed is a member in a view.
type listed struct {
	Name     string          `json:"name"`
	Role     string          `json:"role"`  // leader, standby_leader, sync_standby, quorum_standby, replica
	State    string          `json:"state"` // of its key
	API      string          `json:"api_url"`
	Host     string          `json:"host"`
	Port     json.RawMessage `json:"port"`
	Timeline json.RawMessage `json:"timeline"`
	Lag      json.RawMessage `json:"lag"` // bytes, or "unknown"
	Tags     map[string]any  `json:"tags"`
	Restart  bool            `json:"pending_restart"`
}

// live is what a member says of itself, as GET /patroni tells it.
type live struct {
	State       string          `json:"state"`
	Role        string          `json:"role"`
	Timeline    json.RawMessage `json:"timeline"`
	System      json.RawMessage `json:"database_system_identifier"`
	Replication string          `json:"replication_state"`
	Restart     bool            `json:"pending_restart"`
	Pause       bool            `json:"pause"`
	LastSeen    *int64          `json:"dcs_last_seen"` // in seconds since 1970, by its clock
	Xlog        struct {
		Location json.RawMessage `json:"location"`
		Received json.RawMessage `json:"received_location"`
		Replayed json.RawMessage `json:"replayed_location"`
	} `json:"xlog"`
	Patroni struct {
		Version string `json:"version"`
		Scope   string `json:"scope"`
		Name    string `json:"name"` // "" in older ones
	} `json:"patroni"`
}

// readAll reads a whole answer, if it is not too long for one.
func readAll(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("it is longer than %d bytes", maxAnswer)
	}
	return body, err
}

// decode reads one JSON object and nothing beside it.
func decode(body []byte, into any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return errors.New("it is no JSON object")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("it is no JSON object of the kind: %w", err)
	}
	return nil
}

// decodeView reads the answer to GET /cluster. One that can't be a cluster's is an
// error as a whole.
func decodeView(body []byte) (*view, error) {
	var said struct {
		Scope    string    `json:"scope"`
		Members  *[]listed `json:"members"`
		Pause    bool      `json:"pause"`
		Schedule *struct {
			At   string `json:"at"`
			From string `json:"from"`
			To   string `json:"to"`
		} `json:"scheduled_switchover"`
	}
	if err := decode(body, &said); err != nil {
		return nil, err
	}
	if said.Members == nil {
		return nil, errors.New("it has no members")
	}
	if len(*said.Members) > maxMembers {
		return nil, fmt.Errorf("it has more than %d members", maxMembers)
	}
	v := &view{scope: said.Scope, members: *said.Members, paused: said.Pause}
	names := map[string]bool{}
	for _, m := range v.members {
		switch {
		case m.Name == "" || len(m.Name) > maxName || strings.ContainsRune(m.Name, '/') || strings.ContainsFunc(m.Name, unicode.IsControl):
			return nil, errors.New("a member's name is none")
		case names[m.Name]:
			return nil, fmt.Errorf("it has member %q twice", m.Name)
		}
		names[m.Name] = true
		switch m.Role {
		case "leader", "standby_leader":
			if v.leader != "" {
				return nil, fmt.Errorf("it has two leaders, %q and %q", v.leader, m.Name)
			}
			v.leader, v.standby = m.Name, m.Role == "standby_leader"
		}
	}
	if s := said.Schedule; s != nil && s.At != "" {
		v.failover = object(map[string]any{"leader": s.From, "member": s.To, "scheduled_at": s.At})
	}
	return v, nil
}

// decodeLive reads the answer to GET /patroni.
func decodeLive(body []byte) (*live, error) {
	var l live
	if err := decode(body, &l); err != nil {
		return nil, err
	}
	if l.Role == "master" {
		l.Role = "primary"
	}
	return &l, nil
}

// system is the system identifier; "" if it is none.
func (l *live) system() string {
	text := strings.Trim(string(l.System), `"`)
	if n, err := strconv.ParseUint(text, 10, 64); err != nil || n == 0 {
		return ""
	}
	return text
}

// number is a number that some versions write as text; 0 if it is none.
func number(raw json.RawMessage, bits int) uint64 {
	n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, bits)
	if err != nil {
		return 0
	}
	return n
}

// timeline is a number of 32 bits, as PostgreSQL counts them.
func timeline(raw json.RawMessage) uint64 { return number(raw, 32) }

// object is a value as the text of a JSON object.
func object(v map[string]any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "{}" // it came from JSON
	}
	return string(text)
}

func joinHostPort(host, port string) string { return net.JoinHostPort(host, port) }
