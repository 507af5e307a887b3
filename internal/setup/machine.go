package setup

import (
	"bytes"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// process is a program that runs.
type process struct {
	user string
	args []string
}

// running lists the processes of a program that were started with a config: with
// its path, or with that of its folder, as an argument.
func running(program, config string) []process {
	var found []process
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range folders {
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || strings.TrimSpace(string(name)) != program {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		var args []string
		for arg := range bytes.SplitSeq(bytes.TrimRight(line, "\x00"), []byte{0}) {
			args = append(args, string(arg))
		}
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if !slices.ContainsFunc(args, func(arg string) bool {
			if !filepath.IsAbs(arg) {
				arg = filepath.Join(cwd, arg)
			}
			return filepath.Clean(arg) == config || filepath.Clean(arg) == filepath.Dir(config)
		}) {
			continue
		}
		found = append(found, process{user: ownerOf(dir), args: args})
	}
	return found
}

// after is the argument that follows a flag; "" is none.
func (p process) after(flag string) string {
	i := slices.Index(p.args, flag)
	if i < 0 || i+1 >= len(p.args) {
		return ""
	}
	return p.args[i+1]
}

// ownerOf is the user that a file belongs to, or a process by its folder in /proc, by
// name as far as there is one; "" if that can't be told.
func ownerOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	uid := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

// self is the user that this process runs as.
func self() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}

// isSocket says whether a path is a socket.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// interfaceOf is the interface whose network has an address; "" if none has.
func interfaceOf(address string) string {
	address, _, _ = strings.Cut(address, "/")
	ip := net.ParseIP(address)
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, a := range addresses {
			if n, is := a.(*net.IPNet); is && ip != nil && i.Flags&net.FlagLoopback == 0 && n.Contains(ip) {
				return i.Name
			}
		}
	}
	return ""
}

// sharedWith says whether a user may write a folder, or use a socket, by way of its group
// or as anybody.
func sharedWith(path, name string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if info.Mode().Perm()&0o002 != 0 {
		return true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	u, err := user.Lookup(name)
	if !ok || err != nil || info.Mode().Perm()&0o020 == 0 {
		return false
	}
	groups, _ := u.GroupIds()
	return slices.Contains(groups, strconv.FormatUint(uint64(st.Gid), 10))
}
