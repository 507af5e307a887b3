# /etc/pgbaton/pgbaton.hcl beside each PgBouncer: it follows the leader, and keeps its
# clients waiting while that changes.

cluster "patroni" "main" {
  scope = "batman"
}

target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "/etc/pgbouncer/pgbouncer.ini"
    perms       = "0640"
    group       = "postgres"
  }
  vars = {
    databases = ["app"]
  }
  hold = true
}
