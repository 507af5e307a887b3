package main

import (
	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/reload/docker"
	"github.com/pgbaton/pgbaton/reload/exec"
	"github.com/pgbaton/pgbaton/reload/haproxy"
	"github.com/pgbaton/pgbaton/reload/keepalived"
	"github.com/pgbaton/pgbaton/reload/pgbouncer"
	"github.com/pgbaton/pgbaton/reload/pgpool"
	"github.com/pgbaton/pgbaton/reload/signal"
	"github.com/pgbaton/pgbaton/reload/systemd"
	"github.com/pgbaton/pgbaton/watcher/cluster"
	"github.com/pgbaton/pgbaton/watcher/consul"
	"github.com/pgbaton/pgbaton/watcher/etcd"
	"github.com/pgbaton/pgbaton/watcher/file"
	"github.com/pgbaton/pgbaton/watcher/patroni"
	"github.com/pgbaton/pgbaton/watcher/repmgr"
	"github.com/pgbaton/pgbaton/watcher/zookeeper"
)

// kinds is the table of stores, clusters and daemons: a new one is a folder, or a file, and a
// line.
func kinds() config.Kinds {
	return config.Kinds{
		Stores: map[string]func() config.StoreSettings{
			"consul":    func() config.StoreSettings { return &consul.Config{} },
			"etcd":      func() config.StoreSettings { return &etcd.Config{} },
			"zookeeper": func() config.StoreSettings { return &zookeeper.Config{} },
			"file":      func() config.StoreSettings { return &file.Config{} },
			"repmgr":    func() config.StoreSettings { return &repmgr.Config{} },
			"patroni":   func() config.StoreSettings { return &patroni.Config{} },
		},
		Clusters: map[string]func() cluster.Settings{
			"patroni": func() cluster.Settings { return &cluster.Patroni{} },
			"stolon":  func() cluster.Settings { return &cluster.Stolon{} },
			"key":     func() cluster.Settings { return &cluster.Key{} },
			"repmgr":  func() cluster.Settings { return &cluster.Repmgr{} },
		},
		Daemons: map[string]func() config.Daemon{
			"pgbouncer":  func() config.Daemon { return &pgbouncer.Config{} },
			"pgpool":     func() config.Daemon { return &pgpool.Config{} },
			"haproxy":    func() config.Daemon { return &haproxy.Config{} },
			"keepalived": func() config.Daemon { return &keepalived.Config{} },
			"signal":     func() config.Daemon { return &signal.Config{} },
			"exec":       func() config.Daemon { return &exec.Config{} },
			"systemd":    func() config.Daemon { return &systemd.Config{} },
			"docker":     func() config.Daemon { return &docker.Config{} },
		},
		Command: func(c config.Command) config.Daemon {
			return &exec.Shared{Config: exec.Config{Command: c.Args, Timeout: c.Timeout, Env: proc.Environment(c.Env)}, Targets: c.Targets}
		},
	}
}
