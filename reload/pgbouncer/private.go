package pgbouncer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgbaton/pgbaton/reload"
)

// private is a directory that nobody but the dry run's user can enter, with
// copies of the config in it. The copies differ from the originals as little as
// a harmless run allows, and not in their line numbers.
type private struct {
	dir    string
	main   string   // the copy to start with
	places []string // copy, original, copy, original …: for the messages
	tree   *tree
	copied map[string]string // destination of the set → its copy
	count  int
	begun  bool // a [pgbouncer] header was met
}

// The names of what lies beside the copies.
const (
	headName   = "head.ini"
	notifyName = "notify"
)

// moved says whether a setting of [pgbouncer] reaches outside, and what it is
// in the copy: no port, no file of the real daemon's, no log but stderr. It is
// changed where it stands, for a later word counts more than head.ini's.
func (p *private) moved(key string) (instead string, is bool) {
	switch key {
	case "listen_addr", "logfile", "pidfile", "user", "unix_socket_group":
		return "", true
	case "syslog":
		return "0", true
	case "unix_socket_dir":
		return p.dir, true
	}
	return "", false
}

// copyOut copies the whole config into dir, for who to read. Every copy keeps
// the mode and the owner that its original has or is going to have, so that a
// file which pgbouncer may not read is found out here.
func copyOut(t *tree, dir string, who reload.Identity) (*private, error) {
	p := &private{dir: dir, tree: t, copied: map[string]string{}}
	head := fmt.Sprintf("[pgbouncer]\nunix_socket_dir = %s\n", dir)
	if err := p.write(headName, head, &source{mode: 0o444}, who); err != nil {
		return nil, err
	}
	// Files of the set that no %include names, such as auth_file.
	for destination, f := range t.set {
		s := &source{path: f.Path, mode: f.Mode.Perm(), uid: f.UID, gid: f.GID}
		name := p.name(s)
		if err := p.write(name, string(f.Content), s, who); err != nil {
			return nil, err
		}
		p.copied[destination] = filepath.Join(dir, name)
	}
	main, err := p.copy(t.main, who, true)
	p.main = main
	return p, err
}

// inPlace makes messages speak of the originals.
func (p *private) inPlace(text string) string {
	return strings.NewReplacer(p.places...).Replace(text)
}

// name gives a copy its name, of the same length for all so that none begins
// with another.
func (p *private) name(s *source) string {
	name := fmt.Sprintf("file%05d", p.count)
	p.count++
	p.places = append(p.places, filepath.Join(p.dir, name), s.path)
	return name
}

func (p *private) write(name, content string, s *source, who reload.Identity) error {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("copy config for a dry run: %w", err)
	}
	mode := s.mode
	if who.Credential == nil {
		mode |= 0o400 // it stays pgbaton's own
	}
	err := os.Chmod(path, mode)
	if who.Credential != nil {
		err = errors.Join(err, os.Lchown(path, s.uid, s.gid))
	}
	if err != nil {
		return fmt.Errorf("copy config for a dry run: %w", err)
	}
	return nil
}

func (p *private) copy(s *source, who reload.Identity, isMain bool) (string, error) {
	name := p.name(s)
	lines := strings.Split(s.content, "\n")
	for i := 0; i < len(s.entries); {
		// All entries of one line are rewritten together, or none.
		line, changed := s.entries[i].line, false
		var parts []string
		for ; i < len(s.entries) && s.entries[i].line == line; i++ {
			part, differs, err := p.rewrite(s, i, who)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
			changed = changed || differs
		}
		if changed {
			lines[line] = strings.Join(parts, "\n")
		}
	}
	text := strings.Join(lines, "\n")
	if isMain && !p.begun {
		text += "\n%include " + filepath.Join(p.dir, headName) + "\n"
	}
	return filepath.Join(p.dir, name), p.write(name, text, s, who)
}

// rewrite is an entry as it stands in the copy.
func (p *private) rewrite(s *source, i int, who reload.Identity) (text string, differs bool, err error) {
	e := s.entries[i]
	switch {
	case e.kind == header && e.section == "pgbouncer":
		// The header goes into a file of its own with what has to hold: that
		// takes no line more, and the section goes on after an include.
		p.begun = true
		return "%include " + filepath.Join(p.dir, headName), true, nil
	case e.kind == header:
		return "[" + e.section + "]", false, nil
	case e.kind == include:
		inner := s.includes[i]
		if inner == nil {
			return "%include " + e.value, false, nil
		}
		path, err := p.copy(inner, who, false)
		return "%include " + path, true, err
	case e.section == "pgbouncer":
		if instead, is := p.moved(e.key); is {
			return e.key + " = " + instead, true, nil
		}
		if e.value != "" {
			if path, is := p.copied[p.tree.resolve(e.value)]; is {
				return e.key + " = " + path, true, nil
			}
		}
	}
	return e.key + " = " + e.value, false, nil
}
