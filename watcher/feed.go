package watcher

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Feeder is a Store that keeps something open between two answers to the same
// query, as a stream of changes. It is asked through feeds.
type Feeder interface {
	Store

	// Open begins a feed for q. It need not wait for the store.
	Open(ctx context.Context, q Query) (Feed, error)
}

// Feed gives the answers to one query, one after the other.
type Feed interface {
	// Next returns what is there now, the first time, and then what is there after
	// a change. After an error the feed is closed, and another one is opened: so what
	// breaks on the way, as a stream over a connection, is not mended but begun anew,
	// and nothing of before is believed.
	Next(ctx context.Context) (Answer, error)
	Close()
}

// patience is how long a feed may be silent before it is opened anew: what is there
// is read again then, so that silence is not taken for "no change" for ever.
const patience = time.Minute

// asker asks a store for one query again and again.
type asker struct {
	store Store
	query Query
	feed  Feed // nil unless one is open
}

// fetch is Store.Fetch, through a feed if the store has feeds.
func (a *asker) fetch(ctx context.Context, after uint64) (Answer, error) {
	feeder, is := a.store.(Feeder)
	if !is {
		return a.store.Fetch(ctx, a.query, after)
	}
	if after != 0 && a.feed != nil {
		limited, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
		answer, err := a.feed.Next(limited)
		silent := errors.Is(context.Cause(limited), errSilent)
		cancel()
		if err == nil || !silent {
			return a.came(answer, err)
		}
	}
	a.close()
	var err error
	if a.feed, err = feeder.Open(ctx, a.query); err != nil {
		return Answer{}, err
	}
	answer, err := a.feed.Next(ctx)
	return a.came(answer, err)
}

var errSilent = errors.New("nothing has changed for a while")

// came closes the feed if it failed.
func (a *asker) came(answer Answer, err error) (Answer, error) {
	if err != nil {
		a.close()
	}
	return answer, err
}

func (a *asker) close() {
	if a.feed != nil {
		a.feed.Close()
		a.feed = nil
	}
}

// FetchOnce is Store.Fetch of a Feeder: for those who have no use for more than one
// answer.
func FetchOnce(ctx context.Context, s Feeder, q Query, after uint64) (Answer, error) {
	feed, err := s.Open(ctx, q)
	if err != nil {
		return Answer{}, fmt.Errorf("open %s: %w", q, err)
	}
	defer feed.Close()
	for {
		answer, err := feed.Next(ctx)
		if err != nil || answer.Rev != after {
			return answer, err
		}
	}
}
