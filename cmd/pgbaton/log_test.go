package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/config"
)

// A level that changes, as by SIGHUP, counts for what is beside standard error too.
func TestLevelChangesInLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := daemonLogger(&config.Config{LogLevel: "info", LogFile: &config.LogFile{Path: path}}, stdio{err: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	named := log.Named("sub")
	named.Debug("dropped")
	log.SetLevel(hclog.Debug)
	named.Debug("kept")
	log.SetLevel(hclog.Error)
	named.Info("dropped")
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "dropped") || !strings.Contains(string(text), "kept") {
		t.Errorf("%s %v", text, err)
	}
}
