package pgbouncer

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// identity is who the dry run is run as.
type identity struct {
	name string
	cred *syscall.Credential // nil: as pgbaton itself
}

// whoami decides for whom the dry run is run: a check must not be able to do
// more than the pgbouncer it stands for. Only root has a choice.
func (d *daemon) whoami(main *source) (identity, error) {
	if os.Geteuid() != 0 {
		return identity{name: "pgbaton's own user"}, nil
	}
	if d.checkUser != "" {
		u, err := lookup(d.checkUser)
		if err != nil {
			return identity{}, hint.Wrap(fmt.Errorf("find check_user %q: %w", d.checkUser, err),
				"name the user that pgbouncer runs as")
		}
		return become(u)
	}
	if main.uid != 0 {
		u, err := user.LookupId(strconv.Itoa(main.uid))
		if err == nil {
			return become(u)
		}
		// A container's owner need not have a name here.
		return identity{
			name: fmt.Sprintf("user %d", main.uid),
			cred: &syscall.Credential{Uid: uint32(main.uid), Gid: uint32(main.gid)},
		}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return become(u)
		}
	}
	return identity{}, hint.Wrap(errors.New("find a user for the dry run: there is neither postgres nor nobody"),
		"set check_user to the user that pgbouncer runs as")
}

func lookup(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if byID, idErr := user.LookupId(name); idErr == nil {
			return byID, nil
		}
	}
	return u, err
}

func become(u *user.User) (identity, error) {
	uid, err := number(u.Uid)
	if err != nil {
		return identity{}, fmt.Errorf("read id of user %s: %w", u.Username, err)
	}
	gid, err := number(u.Gid)
	if err != nil {
		return identity{}, fmt.Errorf("read group of user %s: %w", u.Username, err)
	}
	if uid == 0 {
		return identity{}, hint.Wrap(fmt.Errorf("become %s: that is root, and pgbouncer refuses to run as root", u.Username),
			"set check_user to the user that pgbouncer runs as")
	}
	cred := &syscall.Credential{Uid: uid, Gid: gid}
	groups, err := u.GroupIds()
	if err != nil {
		return identity{}, fmt.Errorf("read groups of user %s: %w", u.Username, err)
	}
	for _, text := range groups {
		if g, err := number(text); err == nil {
			cred.Groups = append(cred.Groups, g)
		}
	}
	return identity{name: u.Username, cred: cred}, nil
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}
