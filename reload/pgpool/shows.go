package pgpool

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// atStart are settings that pgpool takes when it starts, and that pcp_pool_status shows as
// they are written.
var atStart = []string{
	"listen_addresses", "port", "socket_dir", "unix_socket_directories", "pcp_listen_addresses", "pcp_port", "pcp_socket_dir", "pid_file_name", "logdir",
	"num_init_children", "max_pool", "reserved_connections", "listen_backlog_multiplier", "child_life_time", "child_max_connections",
	"connection_life_time", "authentication_timeout", "load_balance_mode", "connection_cache", "serialize_accept", "use_watchdog", "memory_cache_enabled",
	"pool_passwd", "ssl", "ssl_key", "ssl_cert", "ssl_ca_cert", "wd_priority",
}

// onReload are settings that a reload follows.
var onReload = []string{
	"sr_check_period", "sr_check_user", "sr_check_database", "delay_threshold", "health_check_period", "health_check_timeout", "health_check_user",
	"health_check_max_retries", "health_check_retry_delay", "connect_timeout", "failover_on_backend_error", "failover_on_backend_shutdown",
	"detach_false_primary", "auto_failback", "search_primary_node_timeout", "client_idle_limit", "failover_command", "failback_command",
	"follow_primary_command", "log_connections", "log_disconnections", "log_statement", "log_per_node_statement", "statement_level_load_balance",
	"enable_pool_hba", "allow_clear_text_frontend_auth",
}

// shows looks whether pgpool shows the settings and weights of the file. stuck are those
// that take a restart, differs those that a reload should have changed.
func (f *follower) shows(ctx context.Context, nodes []node) (differs, stuck string, err error) {
	giveUp := time.Now().Add(lag)
	for {
		shown := map[string]string{}
		err = f.retry(ctx, true, func() (err error) {
			shown, err = f.pcp.settings(ctx)
			return err
		})
		if err != nil {
			return "", "", err
		}
		differs, stuck = f.difference(shown, onReload), f.difference(shown, atStart)
		if differs == "" {
			differs = f.weighs(nodes)
		}
		if differs == "" || time.Now().After(giveUp) {
			return differs, stuck, nil
		}
		if !pause(ctx) {
			return "", "", fmt.Errorf("reload pgpool at %s: %s: %w", f.pcp, differs, context.Cause(ctx))
		}
		if nodes, err = f.look(ctx, true); err != nil {
			return "", "", err
		}
	}
}

// difference says which settings of the file are shown otherwise; "" if none.
func (s *settings) difference(shown map[string]string, names []string) string {
	var differ []string
	for _, name := range names {
		want, set := s.values[name]
		have, known := shown[name]
		if set && known && !same(want.value, have) {
			differ = append(differ, fmt.Sprintf("%s is %s, and line %d of %s wants %s", name, have, want.number, s.path, want.value))
		}
	}
	return strings.Join(differ, "; ")
}

// units are those that a value may have; what pgpool shows is in one of them.
var units = map[string][]float64{
	"ms": {1, 1e-3}, "s": {1e3, 1}, "min": {6e4, 60}, "h": {36e5, 3600}, "d": {864e5, 86400},
	"b": {1}, "kb": {1 << 10, 1}, "mb": {1 << 20, 1 << 10}, "gb": {1 << 30, 1 << 20},
}

// same says whether a value as it is written is the one that is shown.
func same(written, shown string) bool {
	if shown == "(null)" {
		shown = ""
	}
	if written == shown {
		return true
	}
	if have, err := strconv.ParseFloat(shown, 64); err == nil {
		if want, known := boolean(written); known && (have == 0 || have == 1) {
			return want == (have == 1)
		}
		number := strings.TrimRight(written, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
		want, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return true // a word that is shown as a number
		}
		unit := strings.ToLower(strings.TrimPrefix(written, number))
		return want == have || slices.ContainsFunc(units[unit], func(u float64) bool { return want*u == have })
	}
	return false
}

func boolean(word string) (value, known bool) {
	switch strings.ToLower(word) {
	case "on", "true", "yes", "1":
		return true, true
	case "off", "false", "no", "0":
		return false, true
	}
	return false, false
}

// weighs says whose share of the reads is another than the file's weights come to. It
// can't be told where pgpool has backends that the file does not name.
func (s *settings) weighs(nodes []node) string {
	total := 0.0
	for id, n := range nodes {
		b := s.backends[id]
		if b == nil && !n.unused() {
			return ""
		}
		if b != nil {
			total += b.weight
		}
	}
	for id, n := range nodes {
		b := s.backends[id]
		if b == nil || total == 0 {
			continue
		}
		if want := b.weight / total; math.Abs(want-n.weight) > 0.001 {
			return fmt.Sprintf("backend %d, %s, has %.3f of the weight, not %.3f", id, b, n.weight, want)
		}
	}
	return ""
}
