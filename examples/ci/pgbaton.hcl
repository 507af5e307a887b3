# The config as it is in production. In CI a captured state takes the place of
# Consul: pgbaton render -state state.yaml.

consul {
  address = "127.0.0.1:8500"
}

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
    perms       = "0640"
    user        = "postgres"
  }
  vars = {
    databases       = ["shop"]
    max_client_conn = 2000
  }
}

target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = "/etc/haproxy/haproxy.cfg"
  }
  vars = {
    max_lag = "64MB"
  }
  master_socket = "/run/haproxy-master.sock"
  hold          = true # new sessions wait while the leader changes
}
