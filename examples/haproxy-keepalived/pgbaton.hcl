# /etc/pgbaton/pgbaton.hcl, the same on both balancers: HAProxy with a read-write and a
# read-only port, and keepalived, which gives one of them the address.

# Consul's agent on this machine, 127.0.0.1:8500, is the store unless a block says
# otherwise.

cluster "patroni" "main" {
  scope = "batman"
  probe "sql" {}
  probe "lag" {
    max_delay = "5s"
  }
}

target "haproxy" "lb" {
  template {
    source      = "builtin:haproxy.cfg"
    destination = "/etc/haproxy/haproxy.cfg"
    perms       = "0644"
  }
  master_socket = "/run/haproxy-master.sock"
  hold          = true # new sessions wait while the leader changes
}

target "keepalived" "vip" {
  template {
    source      = "builtin:keepalived.conf"
    destination = "/etc/keepalived/keepalived.conf"
    perms       = "0644"
  }
  vars = {
    virtual_ipaddress = ["198.51.100.10/24"]
    interface         = "eth0"
    check             = "/usr/bin/pgrep -x haproxy"
  }
}
