package reload

import (
	"errors"
	"fmt"
	"os"
	users "os/user"
	"strconv"
	"syscall"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// Identity is whom a check is run as.
type Identity struct {
	Name       string
	Credential *syscall.Credential // nil: as pgbaton itself
}

// WhoChecks decides as whom a program that never runs as root is run to check a file of
// owner uid and gid: a check must not be able to do more than the daemon it stands for.
// Only root has a choice. That is user, if set; else the file's owner, else postgres, else
// nobody.
func WhoChecks(program, user string, uid, gid int) (Identity, error) {
	if os.Geteuid() != 0 {
		return Identity{Name: "pgbaton's own user"}, nil
	}
	if user != "" {
		u, err := lookup(user)
		if err != nil {
			return Identity{}, hint.Wrap(fmt.Errorf("find check_user %q: %w", user, err),
				"name the user that %s runs as", program)
		}
		return become(program, u)
	}
	if uid != 0 {
		u, err := users.LookupId(strconv.Itoa(uid))
		if err == nil {
			return become(program, u)
		}
		// A container's owner need not have a name here.
		return Identity{
			Name:       fmt.Sprintf("user %d", uid),
			Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := users.Lookup(name); err == nil {
			return become(program, u)
		}
	}
	return Identity{}, hint.Wrap(errors.New("find a user for the check: there is neither postgres nor nobody"),
		"set check_user to the user that %s runs as", program)
}

func lookup(name string) (*users.User, error) {
	u, err := users.Lookup(name)
	if err != nil {
		if byID, idErr := users.LookupId(name); idErr == nil {
			return byID, nil
		}
	}
	return u, err
}

func become(program string, u *users.User) (Identity, error) {
	uid, err := number(u.Uid)
	if err != nil {
		return Identity{}, fmt.Errorf("read id of user %s: %w", u.Username, err)
	}
	gid, err := number(u.Gid)
	if err != nil {
		return Identity{}, fmt.Errorf("read group of user %s: %w", u.Username, err)
	}
	if uid == 0 {
		return Identity{}, hint.Wrap(fmt.Errorf("become %s: that is root, and %s never runs as root", u.Username, program),
			"set check_user to the user that %s runs as", program)
	}
	cred := &syscall.Credential{Uid: uid, Gid: gid}
	groups, err := u.GroupIds()
	if err != nil {
		return Identity{}, fmt.Errorf("read groups of user %s: %w", u.Username, err)
	}
	for _, text := range groups {
		if g, err := number(text); err == nil {
			cred.Groups = append(cred.Groups, g)
		}
	}
	return Identity{Name: u.Username, Credential: cred}, nil
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}
