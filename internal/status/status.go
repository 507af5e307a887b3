package status

import "time"

// Version is raised when a reader of the one before would be misled.
const Version = 1

// Status is a running pgbaton at one moment. Of makes one.
type Status struct {
	Version  int       `json:"version"`
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`       // every target is in sync, and nothing is in Troubles
	Line     string    `json:"line"`     // all of it in one line for a person
	Troubles []string  `json:"troubles"` // what is not as it should be, a line each, the worst first
	Process  Process   `json:"process"`
	Targets  []Target  `json:"targets"`
	Clusters []Cluster `json:"clusters"`
	Stores   []Store   `json:"stores"`
}

// Process is the pgbaton itself.
type Process struct {
	Version   string    `json:"version"`
	PID       int       `json:"pid"`
	User      string    `json:"user"`
	Started   time.Time `json:"started"`
	Loaded    time.Time `json:"loaded"` // when the config that counts was taken up
	Config    []string  `json:"config"` // files and folders
	StateDir  string    `json:"state_dir"`
	Reloading bool      `json:"reloading,omitempty"` // what is shown is from before, and over in a moment
	Refused   *Refused  `json:"refused,omitempty"`   // the config as it is now was not taken up
}

// Refused is a config that was not taken up.
type Refused struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// What a target's State may be.
const (
	InSync  = "in_sync" // its files are the wanted ones, and its daemon follows, as far as that can be seen
	Pending = "pending" // it is being applied, settles, or waits until a hold is over
	Waiting = "waiting" // something that its templates need is missing
	Failing = "failing" // see Error
	Frozen  = "frozen"  // an operator keeps it from being in sync
	Drifted = "drifted" // in sync but for what somebody else changed, and what is left so
)

// Target is a daemon with its files.
type Target struct {
	ID      string    `json:"id"` // KIND.NAME
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"` // of State
	InSync  bool      `json:"in_sync"`
	Applied time.Time `json:"applied,omitzero"` // when this process first saw it in sync
	Files   []string  `json:"files"`

	Leaders []Leader `json:"leaders"` // whom its files are to show, by cluster
	Follows []Leader `json:"follows"` // whom its daemon was last made to follow

	// Hashes of all its files: as they are wanted, as this process left them on disk, and
	// as its daemon was last seen to follow them.
	Wanted    string `json:"wanted,omitempty"`
	Committed string `json:"committed,omitempty"`
	Followed  string `json:"followed,omitempty"`
	Proof     string `json:"proof,omitempty"` // of Followed: "sent" (nobody can be asked), "followed"
	How       string `json:"how,omitempty"`   // the same for a person

	Waiting []Wait   `json:"waiting"`
	Error   *Error   `json:"error,omitempty"`
	Frozen  *Freeze  `json:"frozen,omitempty"`
	Drift   []string `json:"drift"` // what somebody else changed, and is left so
	Held    []Hold   `json:"held"`
}

// Leader is the leader of a cluster.
type Leader struct {
	Cluster  string `json:"cluster"`
	Name     string `json:"name"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Timeline uint64 `json:"timeline,omitempty"`
}

// Probe is what a question comes to that a member is asked all the time.
type Probe struct {
	Name  string    `json:"name"`
	Fit   bool      `json:"fit"`
	Since time.Time `json:"since,omitzero"`  // of Fit; left out before the first answer
	Words string    `json:"words,omitempty"` // what is wrong with the newest answer
}

// Wait is something that is missing.
type Wait struct {
	For   string    `json:"for"`            // "key app/name: absent"
	Since time.Time `json:"since,omitzero"` // when it was last otherwise
	Words string    `json:"words,omitempty"`
}

// Kinds of errors of a target.
const (
	KindTemplate = "template" // its template can't be rendered
	KindCheck    = "check"    // the check refused the files
	KindGuard    = "guard"    // the change would be too large
	KindApply    = "apply"    // the files can't be swapped in, or a check gives no answer
	KindReload   = "reload"   // the files are in place, and the daemon does not follow
	KindDrift    = "drift"    // files were changed by somebody else
	KindLocked   = "locked"   // another pgbaton has the target, or its state folder can't be used
)

// Error is what went wrong, and when it is tried again.
type Error struct {
	Kind     string    `json:"kind,omitempty"`     // of a target's
	Code     string    `json:"code,omitempty"`     // as pgbaton explain has it
	Text     string    `json:"text"`               // in pgbaton's own words
	Words    string    `json:"words,omitempty"`    // all that is known, in the words of whoever said it; several lines, perhaps
	Hint     string    `json:"hint,omitempty"`     // what to try next
	Failures int       `json:"failures,omitempty"` // in a row, with the same files
	Again    time.Time `json:"again,omitzero"`     // when it is tried again at the latest
}

// Freeze is an operator's word that nothing of a target is to be changed.
type Freeze struct {
	By     string    `json:"by"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"` // left out: until it is thawed
	Reason string    `json:"reason,omitempty"`
}

// Hold is traffic that is kept waiting.
type Hold struct {
	Cluster string    `json:"cluster"`
	Names   []string  `json:"names"` // what is held, in the daemon's own words
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"` // then it is released, whatever happened
	ByHand  bool      `json:"by_hand,omitempty"`
}

// Cluster is a PostgreSQL cluster.
type Cluster struct {
	Name     string    `json:"name"`
	Scope    string    `json:"scope"`
	Phase    string    `json:"phase"`          // unknown, starting, steady, switching, lost, leaderless, promoting
	Since    time.Time `json:"since,omitzero"` // of Phase
	Leader   *Leader   `json:"leader,omitempty"`
	By       string    `json:"confirmed_by,omitempty"` // the way by which the leader was confirmed
	Reigns   time.Time `json:"reigns,omitzero"`        // when it was confirmed, by this process
	Key      string    `json:"leader_key,omitempty"`   // whom the leader key names
	Created  uint64    `json:"term,omitempty"`         // index of the leader key: rises with each term within one System
	Timeline uint64    `json:"timeline,omitempty"`
	System   string    `json:"system,omitempty"` // PostgreSQL's system identifier
	Paused   bool      `json:"paused,omitempty"`
	Standby  bool      `json:"standby,omitempty"` // the whole cluster follows another one
	Fenced   bool      `json:"fenced,omitempty"`  // Stolon wants nobody to be led to a leader
	Probes   []Probe   `json:"leader_probes"`     // what its leader is asked; nothing follows from it
	Replicas []Replica `json:"replicas"`
	Alarms   []Alarm   `json:"alarms"`
	Problems []Problem `json:"problems"` // keys that can't be read
	Stale    *Stale    `json:"stale,omitempty"`
}

// What a replica's Lag may be.
const (
	LagUnknown = "unknown"
	LagNear    = "near" // its probe passes; without one at most 1 MiB, up to which Patroni lets a replica take over unless it is told otherwise
	LagFar     = "far"
)

// Replica is a member that does not lead.
type Replica struct {
	Name     string   `json:"name"`
	Host     string   `json:"host"`
	Port     int      `json:"port"`
	Role     string   `json:"role"`  // as its key has it
	State    string   `json:"state"` // likewise
	Serves   bool     `json:"serves"`
	Sync     bool     `json:"sync,omitempty"`
	Timeline uint64   `json:"timeline,omitempty"`
	Lag      string   `json:"lag"`
	LagBytes *uint64  `json:"lag_bytes,omitempty"`     // behind the leader, as of their last heartbeats, or as a probe tells
	Delay    *float64 `json:"delay_seconds,omitempty"` // it shows all that was committed longer ago; only a probe tells
	Fit      bool     `json:"fit"`                     // every probe passes; true without any
	Probes   []Probe  `json:"probes"`
}

// Kinds of alarms.
const (
	AlarmTwoWriters = "two_writers"    // two members take writes
	AlarmRefused    = "leader_refused" // the leader key names one that is not believed
)

// Alarm is something about a cluster that somebody has to see to.
type Alarm struct {
	Kind  string    `json:"kind"`
	Code  string    `json:"code"` // as pgbaton explain has it
	Since time.Time `json:"since,omitzero"`
	Text  string    `json:"text"`
}

// Problem is a key that can't be read.
type Problem struct {
	Key   string `json:"key"`
	Words string `json:"words,omitempty"`
}

// What a store's State may be.
const (
	StoreAnswers = "answers"
	StoreStale   = "stale"  // some of its answers can't be confirmed
	StoreAsked   = "asked"  // it has not answered yet
	StoreUnused  = "unused" // nothing of it is wanted
)

// Store is where keys, services and files come from.
type Store struct {
	Name      string    `json:"name"` // its kind; "local" are the files of this machine
	State     string    `json:"state"`
	Reachable bool      `json:"reachable"`          // it confirms all that it was asked, as far as it has answered
	Watches   int       `json:"watches"`            // how many queries are watched
	Failing   int       `json:"failing"`            // how many of them it can't confirm now
	Asked     int       `json:"asked"`              // how many of them it has not answered yet
	Confirmed time.Time `json:"confirmed,omitzero"` // when it last answered anything
	Stale     *Stale    `json:"stale,omitempty"`
}

// Stale is data that can't be confirmed: it was true at Since, and is what counts until
// something newer is known.
type Stale struct {
	Code  string    `json:"code"`  // as pgbaton explain has it
	Since time.Time `json:"since"` // of the oldest
	Never bool      `json:"never,omitempty"`
	Query string    `json:"query,omitempty"` // which
	Words string    `json:"words,omitempty"` // why it can't be confirmed
}
