package zookeeper_test

import (
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/watcher/zookeeper"
)

func TestConfigThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		config zookeeper.Config
		want   string
	}{
		{zookeeper.Config{Hosts: []string{"a:2181/chroot"}}, `host "a:2181/chroot"`},
		{zookeeper.Config{Hosts: []string{"a", ""}}, `host ""`},
		{zookeeper.Config{Hosts: []string{":2181"}}, `host ":2181"`},
		{zookeeper.Config{Password: "hunter2"}, "no user"},
		{zookeeper.Config{User: "pgbaton:hunter2"}, "colon"},
	} {
		if _, err := c.config.Open(); err == nil || !strings.Contains(err.Error(), c.want) || hint.Of(err) == "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v, hint %q", c.config, err, hint.Of(err))
		}
	}
	for _, host := range []string{"a", "a:2181", "::1", "[::1]", "[::1]:2181"} {
		open(t, &zookeeper.Config{}, host)
	}
}
