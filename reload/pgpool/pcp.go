package pgpool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/proc"
)

// pcp is how a pgpool is told and asked: by the clients that come with it, which speak its
// own version of the protocol.
type pcp struct {
	host     string
	port     int
	user     string
	passFile string
	folder   string
	timeout  time.Duration
}

func (p pcp) String() string { return net.JoinHostPort(p.host, strconv.Itoa(p.port)) }

// run runs one of the clients. They never ask for a password.
func (p pcp) run(ctx context.Context, client string, args ...string) (string, error) {
	program := "pcp_" + client
	if p.folder != "" {
		program = filepath.Join(p.folder, program)
	}
	var env proc.Environment
	if p.passFile != "" {
		env.Custom = []string{"PCPPASSFILE=" + p.passFile}
	}
	whole := append([]string{program, "-w", "-h", p.host, "-p", strconv.Itoa(p.port), "-U", p.user}, args...)
	out, err := proc.Run(ctx, proc.Command{Args: whole, Env: env, Timeout: p.timeout})
	if err == nil {
		return out, nil
	}
	var ran *proc.Error
	said := ""
	if errors.As(err, &ran) {
		said = strings.Join(strings.Fields(ran.Output), " ")
	}
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "", hint.Wrap(fmt.Errorf("run %s: %w", program, errors.Unwrap(err)), "install pgpool2 beside pgbaton, or name the folder of the clients of pcp in folder")
	case errors.Is(err, proc.ErrTimeout):
		return "", hint.Wrap(fmt.Errorf("%s at %s: %w", program, p, errors.Unwrap(err)), "see pgpool's log: it may wait for a server that does not answer")
	case !proc.SaidNo(err):
		return "", fmt.Errorf("%s at %s: %w", program, p, errors.Unwrap(err))
	case strings.Contains(said, "authentication failed"), strings.Contains(said, "password"):
		return "", hint.Wrap(fmt.Errorf("%s at %s as %s: %s", program, p, p.user, said),
			"pcp.conf needs a line for %s with the md5 of its password (pg_md5), and pass_file a line HOST:PORT:%s:PASSWORD and mode 0600", p.user, p.user)
	}
	return "", hint.Wrap(fmt.Errorf("%s at %s: %s", program, p, said), "see whether pgpool runs, and its pcp_listen_addresses and pcp_port: host and port of the target are to be the same")
}

// node is a backend as pgpool has it. Its place in a list is its number.
type node struct {
	host    string
	port    int
	status  int // of pgpool's; 1 and 2 are attached
	primary bool
	weight  float64 // its share of the reads, 0 to 1
}

func (n node) attached() bool { return n.status == 1 || n.status == 2 }
func (n node) unused() bool   { return n.port == 0 }

func (n node) String() string {
	is := "detached"
	if n.attached() {
		is = "attached"
		if n.primary {
			is = "primary"
		}
	}
	return fmt.Sprintf("%s is %s", net.JoinHostPort(n.host, strconv.Itoa(n.port)), is)
}

// nodes asks for all backends, node for one: that of another may hang.
func (p pcp) nodes(ctx context.Context) ([]node, error) {
	out, err := p.run(ctx, "node_info", "-a", "-v")
	if err != nil {
		return nil, err
	}
	return parseNodes(out)
}

func (p pcp) node(ctx context.Context, id int) (node, error) {
	out, err := p.run(ctx, "node_info", "-v", "-n", strconv.Itoa(id))
	if err != nil {
		return node{}, err
	}
	all, err := parseNodes(out)
	if err != nil || len(all) != 1 {
		return node{}, errors.Join(err, fmt.Errorf("pcp_node_info shows %d backends in the place of one", len(all)))
	}
	return all[0], nil
}

// parseNodes reads blocks of "Name : value", an empty line between them.
func parseNodes(text string) ([]node, error) {
	var all []node
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		f := fields(block)
		port, err := strconv.Atoi(f["Port"])
		status, err2 := strconv.Atoi(f["Status"])
		weight, err3 := strconv.ParseFloat(f["Weight"], 64)
		if err := errors.Join(err, err2, err3); err != nil {
			return nil, fmt.Errorf("read pcp_node_info: %q: %w", block, err)
		}
		all = append(all, node{host: f["Hostname"], port: port, status: status, primary: f["Role"] == "primary", weight: weight})
	}
	return all, nil
}

func fields(block string) map[string]string {
	f := map[string]string{}
	for text := range strings.Lines(block) {
		if name, value, found := strings.Cut(text, ":"); found {
			f[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return f
}

// settings asks for the settings that pgpool runs with.
func (p pcp) settings(ctx context.Context) (map[string]string, error) {
	out, err := p.run(ctx, "pool_status")
	if err != nil {
		return nil, err
	}
	shown := map[string]string{}
	for _, block := range strings.Split(out, "\n\n") {
		f := fields(block)
		shown[strings.ToLower(f["name"])] = f["value"]
	}
	return shown, nil
}
