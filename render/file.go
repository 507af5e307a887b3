package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Destination is where a file belongs and how it shall lie there.
type Destination struct {
	Path     string       // absolute; a symlink is followed, not replaced
	Perms    *fs.FileMode // permission bits; nil keeps those of the file that is there, else 0644
	User     *int         // numeric; nil keeps the owner of the file that is there, else pgbaton's own
	Group    *int         // numeric; likewise
	MakeDirs bool         // missing folders are made, 0755
	Backup   bool         // the last file is kept as PATH.bak
	Within   string       // the folder that Path must not lead out of, by no link; "" is none
}

// File is a rendered file that is not on disk yet.
type File struct {
	Destination
	Content []byte
}

// Beside are the files that a template wrote beside its own.
func (r Result) Beside() ([]File, error) {
	var files []File
	for _, w := range r.Written {
		d := Destination{Path: w.Path, Perms: &w.Perms, MakeDirs: true, Within: w.Within}
		var err error
		if d.User, err = UserID(w.User); err == nil {
			d.Group, err = GroupID(w.Group)
		}
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("writeToFile %s: %w", w.Path, err), "create it, or correct the call")
		}
		files = append(files, File{Destination: d, Content: []byte(w.Content)})
	}
	return files, nil
}

// Hash names the whole of what is wanted on disk: each path, content, mode and
// owner.
func Hash(files []File) string {
	h := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%q %s %s %s %d\n", f.Path, opt(f.Perms), opt(f.User), opt(f.Group), len(f.Content))
		_, _ = h.Write(f.Content)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func opt[T any](p *T) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprint(*p)
}
