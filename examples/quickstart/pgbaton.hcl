# Runs anywhere: the store is a file, the daemon is a command.

state_dir = "state"

file {
  path = "state.yaml"
}

cluster "patroni" "main" {
  scope   = "batman"
  confirm = ["none"] # there are no members to ask
}

target "exec" "app" {
  template {
    source           = "database.env.tmpl"
    destination      = "out/database.env"
    create_dest_dirs = true
  }

  # The file must be one that a shell can read.
  check = ["sh", "-n", "{file}"]

  # What would be a reload elsewhere.
  command = ["sh", "-c", "date >> \"$PGBATON_DESTINATION.reloads\""]
}
