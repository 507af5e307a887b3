package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// Whatever program checks files, the kind's own or one of the config's, sees
// nothing of the store's token in its environment, or in pgbaton's.
func TestChecksSeeNoToken(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "the store's token")
	t.Setenv("APP_MODE", "strict")
	for kind, own := range map[string]string{
		"pgbouncer":  `binary = %q`,
		"haproxy":    "pid_file = \"/nowhere\"\n binary = %q",
		"keepalived": `binary = %q`,
		"pgpool":     `binary = %q`,
		"exec":       "command = [\"true\"]\n check = [%q]",
	} {
		t.Run(kind, func(t *testing.T) {
			// Where every user may write: pgbouncer's check is never root's.
			dir, err := os.MkdirTemp("/tmp", "pgbaton-test-") //nolint:usetesting // another user has to enter it
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			seen := filepath.Join(dir, "seen")
			stub := servertest.File(t, filepath.Join(dir, "stub"), fmt.Sprintf(
				"#!/bin/sh\n{ env; cat /proc/$PPID/environ; grep NoNewPrivs /proc/self/status; } >%s 2>&1\necho no >&2; exit 1\n", seen), 0o755)
			servertest.File(t, filepath.Join(dir, "state.yaml"), "kv: {a: b}\n", 0o644)
			config := servertest.File(t, filepath.Join(dir, "c.hcl"), fmt.Sprintf(
				"file {\n path = \"state.yaml\"\n}\ntarget %q \"a\" {\n template {\n contents = \"[databases]\\n* = host=a\\n#vrrp_instance\\nvrrp_instance\\n\"\n destination = \"out\"\n perms = \"0644\"\n }\n check_env = [\"APP_*\"]\n %s\n}\n",
				kind, fmt.Sprintf(own, stub)), 0o644)
			code, _, stderr := try(t, "render", "-check", "-config", config)
			if code != exitRefused {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			have, err := os.ReadFile(seen)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"\nPATH=", "APP_MODE=strict", "NoNewPrivs:\t1"} {
				if !strings.Contains("\n"+string(have), want) {
					t.Errorf("the check saw no %q:\n%s", want, have)
				}
			}
			if strings.Contains(string(have), "the store's token") {
				t.Errorf("the check saw the token:\n%s", have)
			}
		})
	}
}
