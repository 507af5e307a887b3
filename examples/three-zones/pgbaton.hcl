# /etc/pgbaton/pgbaton.hcl on a balancer in zone a. Those in b and c differ in zone alone.

cluster "patroni" "main" {
  scope = "batman"
  probe "sql" {}
  probe "lag" {
    max_delay = "5s"
  }
}

# For applications that have a pool of their own: a port for writes, one for reads.
target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = "/etc/haproxy/haproxy.cfg"
    perms       = "0644"
  }
  vars = {
    zone         = "a"
    min_replicas = 1 # one that lags serves, before reads go to the leader
  }
  master_socket = "/run/haproxy-master.sock"
  hold          = true
}

# For the others: app leads to the leader, app_ro to the replicas.
target "pgbouncer" "edge" {
  template {
    source      = "builtin:pgbouncer.ini"
    destination = "/etc/pgbouncer/pgbouncer.ini"
    perms       = "0640"
    group       = "postgres"
  }
  vars = {
    databases = ["app"]
    zone      = "a"
  }
  hold = true
}
