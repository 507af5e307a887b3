package main

import (
	"cmp"
	"fmt"
	"io"
	stdlog "log" //nolint:depguard // libraries use it
	"log/syslog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/internal/config"
)

// newLogger logs to standard error, in colour if a person looks.
func newLogger(c *config.Config, std stdio) hclog.InterceptLogger {
	o := &hclog.LoggerOptions{
		Name: "pgbaton", Level: hclog.LevelFromString(c.LogLevel), Output: std.err,
		JSONFormat: c.LogFormat == "json", TimeFormat: time.RFC3339Nano,
	}
	if c.LogFormat == "" && isTerminal(std.err) {
		if coloured(std.err) {
			o.Color = hclog.ForceColor
		}
		o.TimeFormat = "15:04:05.000"
	}
	return hclog.NewInterceptLogger(o)
}

// daemonLogger logs wherever else the config wants it, too.
func daemonLogger(c *config.Config, std stdio) (hclog.Logger, error) {
	log := newLogger(c, std)
	beside := func(w io.Writer) {
		log.RegisterSink(sink{log, hclog.NewSinkAdapter(&hclog.LoggerOptions{
			Level: hclog.Trace, Output: std.secrets.Writer(w), JSONFormat: c.LogFormat == "json", TimeFormat: time.RFC3339Nano,
		})})
	}
	if c.Syslog != nil {
		w, err := openSyslog(*c.Syslog)
		if err != nil {
			return nil, err
		}
		beside(w)
	}
	if std.recent != nil {
		beside(std.recent)
	}
	if c.LogFile != nil {
		w, err := openLogFile(*c.LogFile)
		if err != nil {
			return nil, err
		}
		beside(w)
	}
	// What libraries have to say has the form of all the rest.
	stdlog.SetFlags(0)
	stdlog.SetOutput(log.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}))
	return log, nil
}

// sink takes what its logger's level lets through, which may change.
type sink struct {
	of hclog.Logger
	hclog.SinkAdapter
}

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(name string, level hclog.Level, msg string, args ...any) {
	if level >= s.of.GetLevel() {
		s.SinkAdapter.Accept(name, level, msg, args...)
	}
}

// facilities are syslog's names of where messages come from.
var facilities = []string{
	"KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
	12: "", 13: "", 14: "", 15: "", 16: "LOCAL0", 17: "LOCAL1", 18: "LOCAL2", 19: "LOCAL3", 20: "LOCAL4", 21: "LOCAL5", 22: "LOCAL6", 23: "LOCAL7",
}

// openSyslog connects to this machine's syslog.
func openSyslog(s config.Syslog) (io.Writer, error) {
	n := slices.Index(facilities, strings.ToUpper(s.Facility))
	if n < 0 {
		return nil, fmt.Errorf("syslog: there is no facility %q", s.Facility)
	}
	w, err := syslog.New(syslog.Priority(n<<3)|syslog.LOG_INFO, s.Name)
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	return w, nil
}

// logFile is a file for logs that begins anew when it is full or old. Full ones
// are beside it, named after the time when they were full.
type logFile struct {
	config.LogFile
	mu    sync.Mutex
	file  *os.File
	size  int64
	begun time.Time
}

func openLogFile(c config.LogFile) (*logFile, error) {
	c.Duration = cmp.Or(c.Duration, 24*time.Hour)
	l := &logFile{LogFile: c}
	return l, l.open()
}

func (l *logFile) open() error {
	if err := os.MkdirAll(filepath.Dir(l.Path), 0o755); err != nil {
		return fmt.Errorf("log_file: %w", err)
	}
	f, err := os.OpenFile(l.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("log_file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("log_file: %w", err)
	}
	l.file, l.size, l.begun = f, info.Size(), time.Now()
	return nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.Bytes > 0 && l.size > 0 && l.size+int64(len(p)) > l.Bytes
	if full || time.Since(l.begun) > l.Duration {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// stamp is a time in nanoseconds since 1970.
var stamp = regexp.MustCompile(`^[0-9]{19}$`)

func (l *logFile) rotate() error {
	_ = l.file.Close()
	ext := filepath.Ext(l.Path)
	stem := strings.TrimSuffix(l.Path, ext)
	// Whatever becomes of the full one, somebody may have moved it away, the log goes
	// on.
	if l.MaxFiles < 0 {
		_ = os.Remove(l.Path)
		return l.open()
	}
	_ = os.Rename(l.Path, fmt.Sprintf("%s-%d%s", stem, time.Now().UnixNano(), ext))
	full, _ := filepath.Glob(stem + "-*" + ext) // the oldest first: their names have the same length
	full = slices.DeleteFunc(full, func(path string) bool {
		return !stamp.MatchString(strings.TrimSuffix(strings.TrimPrefix(path, stem+"-"), ext)) // another's
	})
	for i := 0; l.MaxFiles > 0 && i < len(full)-l.MaxFiles; i++ {
		_ = os.Remove(full[i])
	}
	return l.open()
}
