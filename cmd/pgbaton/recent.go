package main

import (
	"strings"
	"sync"
)

// What of the log is kept in memory.
const (
	recentLines = 1000
	recentBytes = 256 << 10
)

// recent keeps the last lines that were written to it.
type recent struct {
	mu    sync.Mutex
	lines []string
	bytes int
}

// Write implements io.Writer. Each Write is a line.
func (r *recent) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(p))
	r.bytes += len(p)
	for len(r.lines) > recentLines || r.bytes > recentBytes {
		r.bytes -= len(r.lines[0])
		r.lines = r.lines[1:]
	}
	return len(p), nil
}

// String is all that is kept.
func (r *recent) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "")
}
