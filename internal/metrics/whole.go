package metrics

import (
	"runtime"

	"github.com/pgbaton/pgbaton/internal/status"
)

var ofTheWhole = []gauge{
	{
		"pgbaton_ok", "1 if all is as it should be, as the exit code of pgbaton status says", nil,
		func(s status.Status, put put) { put(flag(s.OK)) },
	},
	{
		"pgbaton_ready", "1 if every target was in sync once and no store is stale, as /readyz says", nil,
		func(s status.Status, put put) { put(flag(len(s.NotReady()) == 0)) },
	},
	{
		"pgbaton_build_info", "always 1: the version of pgbaton, and of the Go that built it",
		[]string{"version", "goversion"},
		func(s status.Status, put put) { put(1, s.Process.Version, runtime.Version()) },
	},
	{
		"pgbaton_start_timestamp_seconds", "when pgbaton started, in Unix time", nil,
		func(s status.Status, put put) { unix(put, s.Process.Started) },
	},
	{
		"pgbaton_config_last_load_successful", "1 if the config that was read last was taken up, 0 if it was refused and the one before goes on", nil,
		func(s status.Status, put put) { put(flag(s.Process.Refused == nil)) },
	},
	{
		"pgbaton_config_last_load_success_timestamp_seconds", "when the config that counts was taken up, in Unix time", nil,
		func(s status.Status, put put) { unix(put, s.Process.Loaded) },
	},
}
