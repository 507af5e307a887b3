package pgbouncer_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pgbaton/pgbaton/reload"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
)

// TestRootIsLetIn: a console that lets in whom pgbouncer runs as, and nobody else without a
// password, lets root in; and root is root afterwards, on whatever thread.
func TestRootIsLetIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the tests run as root")
	}
	a := newServer(t, "a")
	b := newBouncer(t)
	content := b.config(a.entry("app"), transactions)
	content = strings.ReplaceAll(content, "auth_type = any\nadmin_users = root", "auth_type = scram-sha-256")
	b.commit(t, content)
	b.start(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			h := b.holder(t, pgbouncer.Config{Socket: b.dir, Port: b.port})
			if _, err := h.Traffic(t.Context(), []reload.Address{a.address()}); err != nil && !errors.Is(err, reload.ErrTaken) {
				t.Errorf("root is not let in: %v", err)
			}
			if err := os.Chown(b.ini, 0, 0); err != nil {
				t.Errorf("root is root no more: %v", err)
			}
		})
	}
	all.Wait()
}
