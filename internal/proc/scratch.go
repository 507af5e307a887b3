package proc

import (
	"os"
	"path/filepath"
	"time"
)

// Of folders for checks.
const (
	scratch = "pgbaton-check-"
	stale   = time.Hour // far longer than any check takes
)

// Scratch makes a private folder for a check. The caller removes it. Those that a kill
// left behind go with the next one, an hour later: a copy of a config may have secrets.
func Scratch() (string, error) {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), scratch+"*")) // its one error is a bad pattern
	for _, dir := range left {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && time.Since(info.ModTime()) > stale {
			_ = os.RemoveAll(dir) // what is another's stays
		}
	}
	return os.MkdirTemp("", scratch)
}
