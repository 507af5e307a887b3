package web

import (
	"encoding/json"
	"reflect"
	"sync"
	"time"

	"github.com/pgbaton/pgbaton/internal/status"
)

// pace is how often at most the status is made for those who look, however many they are:
// pgbaton has most to do when most is to be seen.
const pace = 250 * time.Millisecond

// feed is what all streams are told, made once for all of them.
type feed struct {
	from Source

	mu      sync.Mutex
	looked  time.Time     // when status was made
	last    status.Status // without the time that it is of
	status  told
	history told
	changed <-chan struct{} // closed when history is not the newest any more
}

// told is something that is told, as JSON in one line. Its turn rises when it is another.
type told struct {
	turn uint64
	text []byte
}

// look is what is to be told now, and a channel that is closed when there is more.
func (f *feed) look() (now, past told, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outdated() {
		list, changed := f.from.Changes()
		f.changed = changed
		f.history = told{f.history.turn + 1, line(brief(f.from.list(list)))}
	}
	if at := time.Now(); at.Sub(f.looked) >= pace {
		f.looked = at
		s := f.from.Status().Public()
		f.status.text = line(s)
		if s.At = (time.Time{}); !reflect.DeepEqual(s, f.last) {
			f.last = s
			f.status.turn++
		}
	}
	return f.status, f.history, f.changed
}

func (f *feed) outdated() bool {
	if f.changed == nil {
		return true
	}
	select {
	case <-f.changed:
		return true
	default:
		return false
	}
}

// line is a value as JSON in one line. What is shown can always be put so.
func line(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
