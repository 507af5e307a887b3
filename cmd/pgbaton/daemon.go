package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/metrics"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
	"github.com/pgbaton/pgbaton/internal/target"
)

// lineLag is how long systemd's status line may be behind: it is made of all targets, and
// with a thousand of them that costs more than what one has changed.
const lineLag = 100 * time.Millisecond

// stopLimit is how long a stop may take, whatever hangs.
const stopLimit = 5 * time.Second

func runDaemon(ctx context.Context, std stdio, from sources, filesFirst time.Duration) error {
	c, problems := load(from)
	if problems.Fatal() {
		return problems
	}
	std.recent = &recent{}
	log, err := daemonLogger(c, std)
	if err != nil {
		return err
	}
	warn(log, problems)

	signals := make(chan os.Signal, 4)
	again := cmp.Or[os.Signal](c.ReloadSignal, syscall.SIGHUP)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, again)
	if c.KillSignal != nil {
		signal.Notify(signals, c.KillSignal)
	}
	defer signal.Stop(signals)
	remove, err := pidFile(c.PIDFile)
	if err != nil {
		return err
	}
	defer remove()

	journal := history.New(std.secrets.Veil, failure)
	defer remember(ctx, journal, log)()
	shown := newStanding(from, journal, std.recent)
	measured := metrics.New(shown.Status, failure)
	journal.Tell(measured.Note)
	d := &daemon{
		log: log, secrets: std.secrets, notify: newNotifier(log), child: mind(ctx, c.Exec, log, nil), signals: signals,
		shown: shown, journal: journal, metrics: measured,
		doors: doors{log: log, shown: shown, pages: []status.Page{{Path: "/metrics", Handler: measured.Handler()}}},
	}
	defer d.notify.close()
	defer func() { d.child.stop() }()
	d.forward(c)
	a, err := assemble(c, true, std.secrets, log)
	if err != nil {
		return err
	}
	d.start(ctx, a)
	d.doors.adjust(ctx, a)
	log.Info("running", "version", versionText(), "targets", len(c.Targets), "clusters", len(c.Clusters), "store", c.Stores[0].Name)
	d.begin(filesFirst)
	watchdog, refresh := d.notify.watchdog(), d.notify.again()
	var soon <-chan time.Time
	for {
		select {
		case s := <-signals:
			if s == again {
				d.reload(ctx, from)
				continue
			}
			if s != syscall.SIGINT && s != syscall.SIGTERM && s != c.KillSignal {
				d.child.pass(s)
				continue
			}
			log.Info("stopping", "signal", s.String())
			d.notify.stopping()
			d.child.stop() // first: it may still need what is rendered
			return d.end()
		case err := <-d.child.Over():
			log.Info("stopping", "reason", "the child process is over")
			d.notify.stopping()
			return errors.Join(childError(err), d.end())
		case <-ctx.Done():
			return d.end()
		case <-d.changed:
			d.child.sync(d.loops)
			d.filesPlaced()
			if soon == nil && d.notify.heard() {
				soon = time.After(lineLag)
			}
		case <-d.late:
			d.filesLate()
		case <-soon:
			soon = nil
			d.notify.status(d.status())
		case <-refresh:
			d.notify.status(d.status())
		case <-watchdog:
			d.notify.alive()
		}
	}
}

// remember keeps the history until end is called, at the latest for a moment longer: a
// disk that hangs keeps nothing from its end.
func remember(ctx context.Context, journal *history.Journal, log hclog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- journal.Run(ctx) }()
	return func() {
		cancel()
		err := error(nil)
		select {
		case err = <-ended:
		case <-time.After(leave):
			err = fmt.Errorf("not written within %v", leave)
		}
		if err != nil {
			log.Warn("the last of the history is lost", "error", err)
		}
	}
}

func warn(log hclog.Logger, problems config.Problems) {
	for _, p := range problems {
		log.Warn(p.Message, "code", p.Code, "place", p.Place(), "hint", p.Hint)
	}
}

// daemon is the running config.
type daemon struct {
	log     hclog.Logger
	secrets *secret.Keeper
	notify  *notifier
	changed chan struct{}
	loops   []*target.Loop
	cancel  context.CancelCauseFunc
	group   *errgroup.Group
	current *assembly
	child   *minder // nil if there is none
	shown   *standing
	journal *history.Journal
	metrics *metrics.Metrics
	doors   doors
	signals chan<- os.Signal
	late    <-chan time.Time // when files are not waited for any more; nil once systemd was told that we are ready
}

// forward takes the signals that a child process gets from us, if there is one.
func (d *daemon) forward(c *config.Config) {
	if c.Exec != nil {
		signal.Notify(d.signals, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT, syscall.SIGWINCH)
	}
}

// start runs an assembly. One that ran before has ended: its leaders are taken
// over.
func (d *daemon) start(ctx context.Context, a *assembly) {
	if d.current != nil {
		a.tracker.Inherit(d.current.tracker)
	}
	ctx, d.cancel = context.WithCancelCause(ctx)
	d.group, d.current, d.loops = &errgroup.Group{}, a, nil
	changed := make(chan struct{}, 1)
	d.changed = changed
	d.group.Go(func() error { return a.run(ctx) })
	folder := state.Folder{Dir: a.config.StateDir}
	if err := d.journal.Keep(folder); err != nil {
		d.log.Warn("a restart will not know what was done", "error", err, "hint", hint.Of(err))
	}
	d.group.Go(func() error {
		(&forgotten{folder: folder, specs: a.specs, log: d.log}).run(ctx)
		return nil
	})
	d.metrics.Take(ids(a.specs))
	for _, spec := range a.specs {
		if spec.Hold {
			spec.Guard = guardOf(folder, spec, d.log)
		}
		spec.Note = d.journal.Note
		loop := target.NewLoop(spec, a.watcher.Subscribe(), target.Records{Folder: folder}, d.log, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		d.loops = append(d.loops, loop)
		d.group.Go(func() error { return loop.Run(ctx) })
	}
	d.shown.take(a, d.loops)
}

// ids are those of targets.
func ids(specs []target.Spec) []string {
	list := make([]string, len(specs))
	for i, spec := range specs {
		list[i] = spec.ID()
	}
	return list
}

// end ends the daemon: nobody is answered any more, and the running config stops.
func (d *daemon) end() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		d.doors.close()
	}()
	err := d.stop(nil)
	<-closed
	return err
}

// stop ends the running config, within stopLimit. With target.ErrHandOver as
// its cause what is held stays so, for the next one to take over.
func (d *daemon) stop(cause error) error {
	d.cancel(cause)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(d.group.Wait(), d.current.close()) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(stopLimit):
		return fmt.Errorf("stop: something still ran after %v", stopLimit)
	}
}

// reload takes a new config up, if it is good, and else keeps the old one.
func (d *daemon) reload(ctx context.Context, from sources) {
	d.notify.reloading()
	defer d.tellReloaded()
	c, problems := load(from)
	warn(d.log, problems)
	if problems.Fatal() {
		d.shown.refuse("pgbaton check says what is wrong with it")
		d.log.Error("config refused, the old one stays", "code", explain.ConfigRefused, "problems", len(problems))
		return
	}
	// Opening comes first: what can't be opened must not cost what runs.
	a, err := assemble(c, true, d.secrets, d.log)
	if err != nil {
		d.shown.refuse("what it names can't be opened; the log says what")
		args := []any{"code", explain.ConfigRefused, "error", err, "hint", hint.Of(err)}
		if errors.As(err, &problems) && len(problems) > 0 {
			args = []any{"code", explain.ConfigRefused, "error", problems[0].Message, "place", problems[0].Place(), "hint", problems[0].Hint}
		}
		d.log.Error("config refused, the old one stays", args...)
		return
	}
	d.shown.keep()
	if err := d.stop(target.ErrHandOver); err != nil {
		d.log.Error("stopping the old config", "error", err)
	}
	d.log.SetLevel(hclog.LevelFromString(c.LogLevel))
	d.start(ctx, a)
	d.doors.adjust(ctx, a)
	if old := d.child; old == nil || !reflect.DeepEqual(old.exec, c.Exec) {
		d.child = mind(ctx, c.Exec, d.log, old)
		d.forward(c)
	}
	d.log.Info("config taken up", "targets", len(c.Targets), "clusters", len(c.Clusters))
}

// status is one line for systemctl status.
func (d *daemon) status() string { return d.shown.Status().Line }
