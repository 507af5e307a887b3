package main

import (
	"encoding/json"
	"io"
	stdlog "log" //nolint:depguard // libraries use it
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

// What libraries print, as net/http does when Consul ends a connection with a word,
// is a line of the log like any other.
func TestLibrariesPrintIntoTheLog(t *testing.T) {
	flags := stdlog.Flags()
	defer func() {
		stdlog.SetFlags(flags)
		stdlog.SetOutput(os.Stderr)
	}()
	var out strings.Builder
	if _, err := daemonLogger(&config.Config{LogLevel: "info", LogFormat: "json"}, stdio{err: &out}); err != nil {
		t.Fatal(err)
	}
	stdlog.Printf("Unsolicited response received")
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line["@message"] != "Unsolicited response received" || line["@level"] != "warn" {
		t.Errorf("it is %q: %v", out.String(), err)
	}
}
