# /etc/pgbaton/pgbaton.hcl on the balancer: HAProxy in front of the PgBouncers that the
# catalog has. It knows of no cluster, and holds nothing: the poolers do.

target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy-pgbouncer.cfg"
    destination = "/etc/haproxy/haproxy.cfg"
    perms       = "0644"
  }
  master_socket = "/run/haproxy-master.sock"
}
