package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/render/funcs"
	"github.com/pgbaton/pgbaton/watcher"
)

// Limits of one execution.
const (
	MaxContent = 16 << 20         // bytes of a rendered file
	MaxTime    = 10 * time.Second // that a template may run
	MaxQueries = 10_000           // that one template may ask
)

// Input is all that an execution sees.
type Input struct {
	Snapshot watcher.Snapshot
	Now      time.Time
	Env      func(string) (string, bool)
	Vars     map[string]any
	Minimum  func(service string) int // see funcs.World

	Plugin func(name string, args []string) (string, error) // runs a program; nil runs none
	Debug  io.Writer                                        // takes what is dumped; nil drops it
}

// Result is what an execution came to. If Waiting is not empty, Content and
// Err mean nothing: they came from zero values.
type Result struct {
	Content []byte
	Asked   map[watcher.Query]struct{}
	Waiting []funcs.Waiting
	Written []funcs.Written // files beside its own
	Err     error
}

// Complete says whether nothing was missing.
func (r Result) Complete() bool { return len(r.Waiting) == 0 }

// Execute runs the template once. It gives up when ctx ends or a limit is
// reached.
func (t *Template) Execute(ctx context.Context, in Input) Result {
	*t.world = funcs.World{
		Snapshot: in.Snapshot, Now: in.Now, Env: in.Env, Vars: in.Vars, Minimum: in.Minimum,
		Asked:   map[watcher.Query]struct{}{},
		Sandbox: t.rules.Sandbox, Relative: t.rules.Relative, Plugin: in.Plugin, Execute: t.define, Debug: in.Debug,
	}
	t.depth = 0
	ctx, cancel := context.WithTimeoutCause(ctx, MaxTime, errTooLong)
	defer cancel()
	steps := 0
	t.tick = func() error {
		// A look at the context at each step would cost more than most steps.
		if steps++; steps%256 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(t.world.Asked) > MaxQueries {
			return errTooMany
		}
		return nil
	}
	var out Capped
	err := t.tree.Execute(&out, nil)
	r := Result{Content: out.Bytes(), Asked: t.world.Asked, Waiting: t.world.Waiting, Written: t.world.Written}
	switch {
	case err == nil:
	case errors.Is(err, errTooLong), errors.Is(err, errTooBig), errors.Is(err, errTooMany):
		// A limit stands even if data is missing: the rest of it would not help.
		r.Waiting = nil
		r.Err = t.executeError(err)
	default:
		r.Err = t.executeError(err)
	}
	if r.Complete() && r.Err == nil && bytes.IndexByte(r.Content, 0) >= 0 {
		advice := "a value that it reads is no text"
		if key := binary(in.Snapshot, r.Asked); key != "" {
			advice = "the value of key " + key + " is no text"
		}
		r.Err = hint.Wrap(&Error{Name: t.name, Msg: "its result holds a NUL byte"}, "%s", advice)
	}
	return r
}

// binary is the first of the keys that were read whose value holds a NUL byte.
func binary(seen watcher.Snapshot, asked map[watcher.Query]struct{}) (key string) {
	for q := range asked {
		var pairs []watcher.Pair
		switch v := seen[q].Value.(type) {
		case watcher.Pair:
			pairs = []watcher.Pair{v}
		case []watcher.Pair:
			pairs = v
		}
		for _, p := range pairs {
			if strings.IndexByte(p.Value, 0) >= 0 && (key == "" || p.Path < key) {
				key = p.Path
			}
		}
	}
	return key
}

var (
	errTooLong = fmt.Errorf("the template ran longer than %v", MaxTime)
	errTooBig  = fmt.Errorf("the template made more than %d MiB", MaxContent>>20)
	errTooMany = fmt.Errorf("the template asked for more than %d things", MaxQueries)
)

// executeError names the place and keeps the hint of a function that failed.
func (t *Template) executeError(err error) error {
	e := placed(t.name, t.text, err)
	for _, limit := range []error{errTooLong, errTooBig, errTooMany} {
		if errors.Is(err, limit) {
			e.Msg = limit.Error()
			return hint.Wrap(e, "look for a loop without an end")
		}
	}
	// "executing "NAME" at <expr>: error calling f: cause" says too much.
	if _, after, ok := strings.Cut(e.Msg, " at <"); ok && strings.HasPrefix(e.Msg, "executing ") {
		if expr, cause, ok := strings.Cut(after, ">: "); ok {
			e.Msg = reason(expr, cause)
		}
	}
	if strings.Contains(e.Msg, "nil pointer evaluating *cluster.Member") {
		return hint.Wrap(e, "a standby cluster has no .Leader: use .StandbyLeader, or test with {{ if .Leader }}")
	}
	if h := hint.Of(err); h != "" {
		return hint.Wrap(e, "%s", h)
	}
	if h := e.executing(); h != "" {
		return hint.Wrap(e, "%s", h)
	}
	return e
}

// reason names the function that failed, once, or else the expression.
func reason(expr, cause string) string {
	called, ok := strings.CutPrefix(cause, "error calling ")
	if !ok {
		return expr + ": " + cause
	}
	fn, own, _ := strings.Cut(called, ": ")
	if strings.HasPrefix(own, fn+" ") || strings.HasPrefix(own, fn+":") {
		return own
	}
	return called
}

// Capped is a buffer that refuses to grow past MaxContent.
type Capped struct{ bytes.Buffer }

// Write implements io.Writer.
func (c *Capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > MaxContent {
		return 0, errTooBig
	}
	return c.Buffer.Write(p)
}
