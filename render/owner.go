package render

import (
	"os/user"
	"strconv"
)

// UserID resolves a user's name or number; nil for "", which keeps the owner that
// a file has.
func UserID(name string) (*int, error) {
	return id(name, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// GroupID resolves a group's likewise.
func GroupID(name string) (*int, error) {
	return id(name, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func id(name string, lookUp func(string) (string, error)) (*int, error) {
	if name == "" {
		return nil, nil
	}
	if n, err := strconv.Atoi(name); err == nil {
		return &n, nil
	}
	text, err := lookUp(name)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(text)
	return &n, err
}
