# /etc/pgbaton/pgbaton.hcl: pgbouncer and HAProxy beside Patroni on Consul, each
# as Debian's package runs it.

state_dir = "/var/lib/pgbaton" # the unit's; so said, every verb finds it, whoever types it

consul {
  address    = "127.0.0.1:8500"
  token_file = "/etc/pgbaton/consul-token" # leave it out if Consul has no ACLs
}

cluster "patroni" "main" {
  scope = "batman"
}

target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "/etc/pgbouncer/pgbouncer.ini"
    perms       = "0640"
    user        = "pgbaton"
    group       = "postgres" # pgbouncer reads it as postgres, and pgbaton is in that group
    backup      = true
  }
  vars = {
    databases   = ["shop", "billing"]
    admin_users = ["pgbaton"]
  }

  # pgbaton and pgbouncer are different users here, so that the console asks for a
  # user of admin_users and a password.
  socket        = "/var/run/postgresql"
  user          = "pgbaton"
  password_file = "/etc/pgbaton/console-password"

  # Clients wait while the leader changes, instead of failing.
  hold = true

  wait {
    min = "100ms"
    max = "2s"
  }
}

target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = "/etc/haproxy/haproxy.cfg"
    perms       = "0644"
    user        = "pgbaton"
    group       = "pgbaton"
    backup      = true
  }
  master_socket = "/run/haproxy-master.sock"
  hold          = true # new sessions wait while the leader changes
}
