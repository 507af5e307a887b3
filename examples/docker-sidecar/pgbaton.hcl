# Consul's address comes from CONSUL_HTTP_ADDR.

log_format = "json"
state_dir  = "/var/lib/pgbaton"

cluster "patroni" "main" {
  scope = "batman"
}

target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "/etc/pgbouncer/pgbouncer.ini"
  }
  template {
    source      = "userlist.txt.tmpl"
    destination = "/etc/pgbouncer/userlist.txt"
    perms       = "0600"
  }
  vars = {
    databases = ["shop"]
    # A pgbouncer that was killed leaves its file in the shared folder. The next one has
    # the same process ID, takes itself for the one of before, and does not start.
    pidfile = ""
  }
  socket = "/var/run/postgresql"
  hold   = true # clients wait while the leader changes, instead of failing
}
