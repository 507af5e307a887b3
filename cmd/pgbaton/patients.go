package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/baton"
	"github.com/pgbaton/pgbaton/internal/doctor"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// patients are all that the doctor looks at by one plan.
type patients struct {
	patience time.Duration // within which each answer has to come

	server *doctor.Server // of this machine; nil is none
	shared *doctor.Shared

	clusters *assembly // nil is none
	end      context.CancelFunc
	ended    chan struct{}
}

// admit begins to look after the members of clusters, and makes ready for the server of
// this machine. The caller releases them.
func admit(ctx context.Context, from plan, secrets *secret.Keeper, log hclog.Logger) (*patients, error) {
	p := &patients{patience: from.here.HTTPTimeout}
	var err error
	if from.wide != nil {
		if p.clusters, err = assemble(from.wide, false, secrets, log); err != nil {
			return nil, err
		}
		ctx, p.end = context.WithCancel(ctx)
		p.ended = make(chan struct{})
		go func() {
			defer close(p.ended)
			if err := errors.Join(p.clusters.run(ctx), p.clusters.close()); err != nil {
				log.Warn("stop looking at clusters", "error", err)
			}
		}()
	}
	if from.local {
		server, err := doctor.NewServer(from.here)
		if err != nil {
			p.release()
			return nil, err
		}
		p.server = server
		p.shared = doctor.NewShared(p.server, from.here.HTTPTimeout, p.server.Limit())
	}
	return p, nil
}

// release lets them go, once nobody looks at them.
func (p *patients) release() {
	if p.clusters != nil {
		p.end()
		<-p.ended
	}
	if p.server != nil {
		p.shared.Close()
		p.server.Close()
	}
}

// find is who looks at the server behind a path; nil if there is none.
func (p *patients) find(path string) doctor.Examiner {
	if path == "/" {
		if p.shared == nil {
			return nil
		}
		return p.shared
	}
	cluster, member, is := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !is || member == "" || p.clusters == nil || !p.clusters.knows(cluster) {
		return nil
	}
	e := &memberExaminer{p, cluster, member}
	if s := p.standing(cluster); s.Known && !e.among(s) {
		return nil
	}
	return e
}

// paths are those of all that can be found, once that is known.
func (p *patients) paths(ctx context.Context) ([]string, error) {
	var all []string
	if p.shared != nil {
		all = append(all, "/")
	}
	if p.clusters == nil {
		return all, nil
	}
	limited, cancel := context.WithTimeout(ctx, firstKeys)
	defer cancel()
	for _, c := range p.clusters.config.Clusters {
		for !p.standing(c.Name).Known {
			if wait(limited, glimpse) != nil {
				return nil, hint.Wrap(errors.Join(fmt.Errorf("look at %s: its members are not known after %v", c.Name, firstKeys), p.standing(c.Name).Err), "is its store reachable, and are its keys there?")
			}
		}
		if len(c.Probes) == 0 {
			continue
		}
		for _, m := range p.standing(c.Name).Baton.Seen.Members {
			all = append(all, "/"+c.Name+"/"+m.Name)
		}
	}
	return all, nil
}

const (
	firstKeys = 10 * time.Second
	glimpse   = 20 * time.Millisecond // between two looks at what is about to be known
)

func (p *patients) standing(cluster string) baton.Standing {
	for _, s := range p.clusters.tracker.Standings() {
		if s.Name == cluster {
			return s
		}
	}
	return baton.Standing{}
}

// memberExaminer looks at what the probes of a member come to: they are put to it all the
// time, whoever asks here.
type memberExaminer struct {
	of              *patients
	cluster, member string
}

// Examine implements doctor.Examiner.
func (e *memberExaminer) Examine(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, e.of.patience)
	defer cancel()
	for {
		known, err := e.verdict()
		if known || wait(limited, glimpse) != nil {
			return err
		}
	}
}

// among says whether the cluster has the member.
func (e *memberExaminer) among(s baton.Standing) bool {
	return slices.ContainsFunc(s.Baton.Seen.Members, func(m cluster.Member) bool { return m.Name == e.member })
}

// verdict is nil of a member that is well. It may be of one of whom not all is known yet.
func (e *memberExaminer) verdict() (known bool, err error) {
	s := e.of.standing(e.cluster)
	switch {
	case !s.Known:
		return false, errors.Join(fmt.Errorf("the members of %s are not known yet", e.cluster), s.Err)
	case len(s.Probes) == 0:
		return true, fmt.Errorf("cluster %s has no probe", e.cluster)
	case !e.among(s):
		return true, fmt.Errorf("%s has no member %s", e.cluster, e.member)
	}
	health, asked := s.Baton.Health[e.member]
	if !asked {
		return false, fmt.Errorf("%s has not been asked yet", e.member)
	}
	var errs []error
	known = true
	for _, c := range health.Checks {
		if c.Since.IsZero() {
			known = false
			errs = append(errs, fmt.Errorf("%s: not asked yet", c.Name))
		} else if !c.Healthy {
			why := c.Why
			if why == "" {
				why = "well again, and not for long enough yet"
			}
			errs = append(errs, fmt.Errorf("%s: %s", c.Name, why))
		}
	}
	return known, errors.Join(errs...)
}

// wait waits for a while, or for ctx's end, which is an error.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
