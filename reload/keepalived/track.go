package keepalived

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload"
)

// tracked are the files of a set that a track_file of its config names:
// keepalived looks at their folders all the time, and sees a rename as well as
// a write.
func tracked(set []reload.File) []reload.File {
	file := regexp.MustCompile(`(?m)^\s*file\s+"?([^"\s]+)"?`)
	var named []string
	for _, f := range set {
		for _, m := range file.FindAllSubmatch(f.Content, -1) {
			named = append(named, string(m[1]))
		}
	}
	var found []reload.File
	for i, f := range set {
		if i > 0 && slices.Contains(named, f.Path) {
			found = append(found, f)
		}
	}
	return found
}

// checkTracked refuses what keepalived would take for a 0, and so for a reason
// to move its addresses.
func checkTracked(staged []reload.File) error {
	for _, f := range tracked(staged) {
		if _, err := strconv.Atoi(string(bytes.TrimSpace(f.Content))); err != nil {
			return hint.Wrap(reload.Refuse(fmt.Sprintf("%s: %.40q is no number", f.Path, f.Content)),
				"a track_file holds one whole number; guard the template against an empty answer")
		}
	}
	return nil
}

// note is the State of a mark: which process read which structure.
type note struct {
	Structure string `json:"structure"` // a hash of all but the content of tracked files
	PID       int    `json:"pid"`
	Started   string `json:"started"` // in ticks since the machine's start
}

func noteOf(p *proc.Running, set []reload.File) note {
	hash := sha256.New()
	follows := tracked(set)
	for _, f := range set {
		content := f.Content
		if slices.ContainsFunc(follows, func(t reload.File) bool { return t.Path == f.Path }) {
			content = nil
		}
		_, _ = fmt.Fprintf(hash, "%q %q\n", f.Path, content)
	}
	return note{Structure: hex.EncodeToString(hash.Sum(nil)[:16]), PID: p.PID, Started: started(p.PID)}
}

func (n note) String() string {
	text, _ := json.Marshal(n) // strings and numbers always can be
	return string(text)
}

// started is when a process began; "" if that can't be told.
func started(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// "PID (name) state …", and a name may hold blanks and brackets.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// sees says whether keepalived needs no reload: it runs what is wanted, but for
// the content of tracked files.
func (d *daemon) sees(now note, last reload.Mark) bool {
	var n note
	if json.Unmarshal([]byte(last.State), &n) != nil || now.Started == "" {
		return false
	}
	// It may have been told of something else since, by a Follow that was
	// interrupted and so left no mark.
	return n == now && (d.told == "" || d.told == now.Structure)
}
