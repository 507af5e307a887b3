package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aymanbagabas/go-udiff"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/target"
	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/render"
	"github.com/pgbaton/pgbaton/templates"
)

func demoVerb(std stdio) *cobra.Command {
	var moves int
	var every time.Duration
	cmd := &cobra.Command{
		Use: "demo",
		Example: `  # until Ctrl-C
  pgbaton demo
  pgbaton demo -moves 2 -every 300ms`,
		Short: "A simulated cluster whose leader moves, with real templates; needs no server",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A terminal that is closed, or a pager that is left, ends it as well:
			// nothing stays behind whatever way it ends.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			return demo(ctx, std, moves, every)
		},
	}
	cmd.Flags().IntVar(&moves, "moves", 0, "end after this many moves of the leader; 0 is never")
	cmd.Flags().DurationVar(&every, "every", 3*time.Second, "how long a leader leads")
	return cmd
}

// demoConfig is an ordinary config. In the demo its daemons are played by
// pgbaton, which prints what each would follow.
const demoConfig = `
state_dir = "state"
file {
  path = "cluster.yaml"
}
cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"]
}
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "pgbouncer.ini"
  }
}
target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = "haproxy.cfg"
  }
}
target "keepalived" "vip" {
  template {
    source      = "builtin:keepalived.conf"
    destination = "keepalived.conf"
  }
  vars = {
    interface         = "eth0"
    virtual_ipaddress = ["192.0.2.10/24"]
    follow_leader     = true
    member            = "pg1"
  }
}
`

func demo(ctx context.Context, std stdio, moves int, every time.Duration) error {
	dir, err := os.MkdirTemp("", "pgbaton-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	stage := &stage{out: std.out, colour: coloured(std.out)}
	if err := simulate(dir, 0); err != nil {
		return err
	}
	path := filepath.Join(dir, "demo.hcl")
	if err := os.WriteFile(path, []byte(demoConfig), 0o600); err != nil {
		return err
	}
	k := kinds()
	for _, kind := range []string{"pgbouncer", "haproxy", "keepalived"} {
		k.Daemons[kind] = func() config.Daemon { return &player{Kind: kind, stage: stage} }
	}
	c, problems := config.Load([]string{path}, config.Options{Kinds: k, Builtin: templates.Text, Builtins: templates.Names()})
	if problems.Fatal() {
		return problems
	}
	log := hclog.New(&hclog.LoggerOptions{Output: std.err, Level: hclog.Error})
	a, err := assemble(c, true, std.secrets, log)
	if err != nil {
		return err
	}
	defer func() { _ = a.close() }()

	stage.say("a simulated cluster of three members; its leader moves every %v; Ctrl-C ends it", every)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return a.run(ctx) })
	changed := make(chan struct{}, 1)
	loops := make([]*target.Loop, len(a.specs))
	for i, spec := range a.specs {
		loops[i] = target.NewLoop(spec, a.watcher.Subscribe(), target.Records{Folder: state.Folder{Dir: c.StateDir}}, log, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		g.Go(func() error { return loops[i].Run(ctx) })
	}
	err = move(ctx, dir, stage, loops, changed, moves, every)
	cancel()
	return errors.Join(err, g.Wait())
}

// move moves the leader, again and again, and waits each time until every
// target shows it.
func move(ctx context.Context, dir string, s *stage, loops []*target.Loop, changed <-chan struct{}, moves int, every time.Duration) error {
	for n := 0; ; n++ {
		patience := time.After(30 * time.Second)
		for lag := behind(loops, leaderAfter(n)); lag != nil; lag = behind(loops, leaderAfter(n)) {
			select {
			case <-changed:
			case <-ctx.Done():
				return nil
			case <-patience:
				return fmt.Errorf("demo: not within 30 s: %w", lag)
			}
		}
		if moves > 0 && n >= moves {
			s.say("%d moves, every target followed each", moves)
			return nil
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
		s.say("the leader moves: %s -> %s", leaderAfter(n), leaderAfter(n+1))
		s.mu.Lock()
		s.moved = time.Now()
		s.mu.Unlock()
		if err := simulate(dir, n+1); err != nil {
			return err
		}
	}
}

// behind says which target is not in sync with the leader yet; nil if none.
func behind(loops []*target.Loop, leader string) error {
	for _, l := range loops {
		s := l.State()
		if !s.InSync || s.Leaders["main"] != leader {
			return fmt.Errorf("%s does not follow %s: waiting for %q, error %w", s.ID, leader, s.Waiting, cmp.Or(s.Err, errors.New("none")))
		}
	}
	return nil
}

// leaderAfter is who leads after so many moves.
func leaderAfter(moves int) string { return fmt.Sprintf("pg%d", moves%3+1) }

// simulate writes the cluster's keys as Patroni does after so many moves.
func simulate(dir string, moves int) error {
	kv := map[string]any{
		"service/batman/initialize": "7420871337042069420",
		"service/batman/config":     map[string]any{"ttl": 30, "loop_wait": 10, "retry_timeout": 10},
		"service/batman/leader":     leaderAfter(moves),
	}
	for i := range 3 {
		role := "replica"
		if i == moves%3 {
			role = "primary"
		}
		kv[fmt.Sprintf("service/batman/members/pg%d", i+1)] = map[string]any{
			"conn_url": fmt.Sprintf("postgres://10.0.0.%d:5432/postgres", i+11),
			"api_url":  fmt.Sprintf("http://10.0.0.%d:8008/patroni", i+11),
			"state":    "running", "role": role, "timeline": moves + 1, "xlog_location": 67108864 + 4096*moves,
		}
	}
	content, err := json.MarshalIndent(map[string]any{"kv": kv}, "", "  ")
	if err != nil {
		return err
	}
	set, err := render.Stage([]render.File{{
		Destination: render.Destination{Path: filepath.Join(dir, "cluster.yaml")}, Content: content,
	}})
	if err != nil {
		return err
	}
	return set.Rename()
}

// stage is where the demo's daemons act.
type stage struct {
	out    io.Writer
	colour bool
	mu     sync.Mutex
	moved  time.Time // when the leader moved last
}

func (s *stage) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.out, "%s %s\n", paint("==>", "1;34", s.colour), paint(fmt.Sprintf(format, args...), "1", s.colour))
}

// player plays a daemon: it prints what changed for it, and follows at once.
type player struct {
	Kind  string
	stage *stage
	last  string
}

func (p *player) Daemon(hclog.Logger) (reload.Daemon, error) { return p, nil }

func (p *player) Check(context.Context, []reload.File) error { return nil }

func (p *player) Follow(_ context.Context, want []reload.File, _ reload.Mark) (reload.Mark, error) {
	name, now := filepath.Base(want[0].Path), string(want[0].Content)
	s := p.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	after := ""
	if p.last == "" {
		_, _ = fmt.Fprintf(s.out, "%s rendered, %d lines\n", name, strings.Count(now, "\n"))
	} else {
		_, _ = fmt.Fprint(s.out, paintDiff(udiff.Unified(name, name, p.last, now), s.colour))
		after = fmt.Sprintf(", %v after the move", time.Since(s.moved).Round(10*time.Microsecond))
	}
	p.last = now
	_, _ = fmt.Fprintf(s.out, "%s %s reloaded%s\n", paint("ok", "32", s.colour), p.Kind, after)
	return reload.Mark{Proof: reload.Followed, How: "played by the demo"}, nil
}
