package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/control"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/state"
	"github.com/pgbaton/pgbaton/internal/status"
)

// How a door is opened and closed.
const (
	knock = 2 * time.Second        // between two tries to open one
	leave = 500 * time.Millisecond // for answers that are under way when it is closed
)

// door is a server through which others look at the daemon. It is no part of the
// daemon's work: one that can't be opened is tried again, and stops nothing.
type door struct {
	key  string // what it was opened for
	end  context.CancelFunc
	done chan struct{}
}

// open starts a server. Its requests end with ctx, and with the door.
func openDoor(ctx context.Context, key string, log hclog.Logger, server *http.Server, listen func() (net.Listener, error)) *door {
	ctx, cancel := context.WithCancel(ctx)
	d := &door{key: key, end: cancel, done: make(chan struct{})}
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	server.ErrorLog = log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	served := make(chan struct{})
	go func() {
		defer close(served)
		told := ""
		for ctx.Err() == nil {
			l, err := listen()
			if err == nil {
				told = ""
				err = server.Serve(status.Limit(l))
			}
			if errors.Is(err, http.ErrServerClosed) {
				return
			}
			if text := err.Error(); text != told {
				told = text
				log.Error("nobody can look from outside", "code", explain.Of(err), "error", err, "hint", hint.Of(err))
			}
			select {
			case <-ctx.Done():
			case <-time.After(knock):
			}
		}
	}()
	go func() {
		defer close(d.done)
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), leave)
		defer cancel()
		if server.Shutdown(limited) != nil {
			_ = server.Close()
		}
		<-served
	}()
	return d
}

// close ends the server, and waits until it has. A nil door is closed.
func (d *door) close() {
	if d != nil {
		d.end()
		<-d.done
	}
}

// doors are all of the daemon's.
type doors struct {
	log    hclog.Logger
	shown  *standing
	pages  []status.Page // of the web, beside the status
	socket *door
	web    *door
}

// adjust opens what a config wants, and closes what it does not. What it wants as
// before stays open.
func (d *doors) adjust(ctx context.Context, a *assembly) {
	dir, group := a.config.StateDir, a.group
	d.socket = change(d.socket, fmt.Sprintf("%s %+v", dir, group), func(key string) *door {
		log := d.log.With("socket", "control")
		return openDoor(ctx, key, log, control.Server(&desk{d.shown}, group), func() (net.Listener, error) {
			return control.Listen(ctx, state.Folder{Dir: dir}, group, func(err error) {
				log.Warn("a group is not let in", "error", err, "hint", hint.Of(err))
			})
		})
	})
	address, diffs, key := a.config.Status.Listen, a.config.Status.Diffs, ""
	if address != "" {
		key = fmt.Sprintf("%s diffs=%v", address, diffs)
	}
	d.web = change(d.web, key, func(key string) *door {
		handler := status.Handler(d.shown.Status, slices.Concat(d.shown.pages(diffs), d.pages)...)
		return openDoor(ctx, key, d.log.With("listen", address), status.Server(handler), func() (net.Listener, error) {
			l, err := (&net.ListenConfig{Control: status.UserTimeout}).Listen(ctx, "tcp", address)
			return l, explain.Mark(hint.Wrap(err, "see what listens there, or choose another listen in the status block"), explain.NoListener)
		})
	})
}

// change keeps a door that is for the same, else closes it and opens the one that is
// wanted: "" is none.
func change(old *door, key string, open func(key string) *door) *door {
	if old != nil && old.key == key {
		return old
	}
	old.close()
	if key == "" {
		return nil
	}
	return open(key)
}

// close closes all of them.
func (d *doors) close() {
	for _, one := range []*door{d.socket, d.web} {
		if one != nil {
			one.end()
		}
	}
	d.socket.close()
	d.web.close()
}
