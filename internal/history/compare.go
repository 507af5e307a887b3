package history

import (
	"fmt"

	"github.com/aymanbagabas/go-udiff"
)

// LargeFile is from how many bytes on a file is not compared: a diff of it would be
// nothing that anybody reads, and costs time and memory.
const LargeFile = 256 << 10

// maxDiff is how long a diff may be, in bytes; the rest is left out.
const maxDiff = 16 << 10

// comparison is files of a change that are to be compared.
type comparison struct {
	id    uint64
	files []File
}

// compared takes up what differs in the files of a change.
func (j *Journal) compared(c comparison) {
	texts := make([]string, len(c.files))
	for i, f := range c.files {
		if !f.Large {
			texts[i] = j.diff(f)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e.ID != c.id {
			continue
		}
		// A change that failed after its files had been swapped in may have some already.
		files := e.Files[len(e.Files)-len(texts):]
		for i := range files {
			files[i].Text = texts[i]
		}
	}
	j.turn()
}

// diff is what differs in a file, with secrets hidden: of one that changed is shown that it
// did.
func (j *Journal) diff(f File) string {
	texts := j.veil(string(f.Before), string(f.After))
	d := udiff.Unified(f.Path, f.Path, texts[0], texts[1])
	if d == "" {
		d = fmt.Sprintf("--- %s\n+++ %s\nthey differ in what is hidden, or in mode or owner\n", f.Path, f.Path)
	}
	if len(d) > maxDiff {
		d = d[:maxDiff] + "\n[cut]\n"
	}
	return d
}
