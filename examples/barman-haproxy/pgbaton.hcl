# /etc/pgbaton/pgbaton.hcl on Barman's machine: it backs up whoever leads, and streams its
# WAL. pgbaton runs as Barman's user there.

state_dir = "/var/lib/pgbaton"

cluster "patroni" "main" {
  scope = "batman"
}

target "exec" "barman" {
  template {
    source      = "builtin:barman.conf"
    destination = "/etc/barman.d/main.conf"
  }
  vars = {
    description      = "batman, whoever leads it"
    path_prefix      = "/usr/lib/postgresql/15/bin"
    retention_policy = "RECOVERY WINDOW OF 7 DAYS"
  }

  # Barman reads the staged file, and connects to nobody.
  check = ["sh", "-c", "sed /^configuration_files_directory/d /etc/barman.conf | cat - \"$PGBATON_FILE\" | barman -c /dev/stdin list-servers"]

  # What streams from the leader of before ends, and the next one begins.
  command = ["sh", "-c", "barman -q receive-wal --stop main; exec barman -q cron"]
}
