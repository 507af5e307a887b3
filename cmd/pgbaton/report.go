package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/history"
	"github.com/pgbaton/pgbaton/internal/proc"
	"github.com/pgbaton/pgbaton/internal/secret"
	"github.com/pgbaton/pgbaton/render"
)

func reportVerb(std stdio) *cobra.Command {
	var from running
	var out, unit string
	var lines int
	cmd := &cobra.Command{
		Use: "report",
		Example: `  pgbaton report -config pgbaton.hcl
  pgbaton report -state-dir state -out report.tar.gz`,
		Short: "Put all that a bug report needs into one file, without secrets",
		Long: `Put all that a bug report needs into one tar.gz: the config, the files at its destinations,
the status, the history and the log of the pgbaton that runs, and what this machine is. Secrets
are hidden; look through it before you give it away, for names and addresses are not.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			now := time.Now()
			if out == "" {
				out = "pgbaton-report-" + now.UTC().Format("20060102-150405") + ".tar.gz"
			}
			if out != "-" {
				if err := unused(out, "-out names another file, -out - is standard output"); err != nil {
					return err
				}
			}
			r := newBundle(strings.TrimSuffix(path.Base(out), ".tar.gz"), now, std.secrets)
			r.collect(ctx, from, unit, lines)
			content, err := r.done()
			if err != nil {
				return err
			}
			if out == "-" {
				_, err := std.out.Write(content)
				return err
			}
			closed := fs.FileMode(0o600)
			if err := swapIn(render.File{Destination: render.Destination{Path: out, Perms: &closed}, Content: content}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(std.out, "%s: %d files, secrets hidden; look through it before you give it away\n", out, r.files)
			return err
		},
	}
	from.bind(cmd)
	cmd.Flags().StringVar(&out, "out", "", "write to this `file`, - is standard output; by default pgbaton-report-TIME.tar.gz")
	cmd.Flags().StringVar(&unit, "unit", "pgbaton", "the systemd `unit` whose journal is looked at")
	cmd.Flags().IntVar(&lines, "lines", 2000, "how many lines of the journal")
	return cmd
}

// bundle is an archive that is being filled. What can't be had is said in its place: it is
// part of what is wrong.
type bundle struct {
	folder  string
	at      time.Time
	secrets *secret.Keeper
	out     bytes.Buffer
	zip     *gzip.Writer
	tar     *tar.Writer
	files   int
	err     error
}

func newBundle(folder string, at time.Time, secrets *secret.Keeper) *bundle {
	r := &bundle{folder: folder, at: at, secrets: secrets}
	if folder == "-" {
		r.folder = "pgbaton-report"
	}
	r.zip = gzip.NewWriter(&r.out)
	r.tar = tar.NewWriter(r.zip)
	return r
}

// add adds a file. Whatever is secret in it is hidden.
func (r *bundle) add(name string, content []byte, err error) {
	if err != nil {
		name, content = name+".missing", fmt.Appendf(nil, "%v\n", err)
	}
	text := r.secrets.Hide(string(content))
	header := &tar.Header{Name: path.Join(r.folder, name), Mode: 0o600, Size: int64(len(text)), ModTime: r.at}
	if r.err == nil {
		r.err = r.tar.WriteHeader(header)
	}
	if r.err == nil {
		_, r.err = io.WriteString(r.tar, text)
	}
	r.files++
}

// addJSON adds a value.
func (r *bundle) addJSON(name string, v any, err error) {
	var content []byte
	if err == nil {
		content, err = json.MarshalIndent(v, "", "  ")
	}
	r.add(name, content, err)
}

func (r *bundle) done() ([]byte, error) {
	for _, err := range []error{r.err, r.tar.Close(), r.zip.Close()} {
		if err != nil {
			return nil, fmt.Errorf("make report: %w", err)
		}
	}
	return r.out.Bytes(), nil
}

// mostFile is how much of a file a report holds.
const mostFile = 1 << 20

// collect adds everything. All that may be secret is learned before anything is written.
func (r *bundle) collect(ctx context.Context, from running, unit string, lines int) {
	texts := map[string][]byte{}
	errs := map[string]error{}
	var order []string
	read := func(name, file string) {
		if _, twice := errs[name]; twice {
			return
		}
		texts[name], errs[name] = readStart(file)
		r.secrets.Learn(string(texts[name]))
		order = append(order, name)
	}
	named := from.sources.paths
	found, missing := from.find(ctx)
	if len(named) == 0 {
		for _, f := range found {
			named = append(named, f.Status.Process.Config...)
		}
	}
	for _, file := range config.Files(named) {
		read("config"+clean(file), file)
	}
	var checked bytes.Buffer
	if len(named) > 0 {
		c, problems := load(sources{paths: named})
		fmt.Fprintf(&checked, "%d mistakes\n%s", len(problems), problems.Error())
		if c != nil && !problems.Fatal() {
			learn(c, r.secrets)
			for _, t := range c.Targets {
				for _, tmpl := range t.Templates {
					if tmpl.Source != "" {
						read("templates"+clean(tmpl.Source), tmpl.Source)
					}
					read("files"+clean(tmpl.Destination), tmpl.Destination)
				}
			}
		}
	}
	r.add("machine.txt", machine(ctx), nil)
	r.add("check.txt", checked.Bytes(), nil)
	for _, name := range order {
		r.add(name, texts[name], errs[name])
	}
	if missing != nil {
		r.add("status.json", nil, missing)
	}
	for i, f := range found {
		dir := ""
		if len(found) > 1 {
			dir = fmt.Sprintf("process-%d/", i+1)
		}
		var text bytes.Buffer
		printStatus(&text, f.Status)
		r.add(dir+"status.txt", text.Bytes(), nil)
		r.addJSON(dir+"status.json", f.Status, nil)
		log, err := f.Log(ctx)
		r.add(dir+"log.txt", []byte(log), err)
	}
	changes, err := changesOf(ctx, from)
	r.addJSON("history.json", history.List{Version: history.Version, Changes: changes}, err)
	journal, err := output(ctx, "journalctl", "--no-pager", "-o", "short-iso-precise", "-n", fmt.Sprint(lines), "-u", unit)
	r.add("journal.txt", journal, err)
}

// readStart reads a file, or its beginning.
func readStart(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, mostFile))
}

// clean is a path that leads nowhere but down from a folder.
func clean(file string) string { return path.Clean("/" + file) }

// machine says what all runs on.
func machine(ctx context.Context) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "pgbaton %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, command := range [][]string{
		{"uname", "-srm"},
		{"cat", "/etc/os-release"},
		{"id"},
		{"systemctl", "--version"},
		{"pgbouncer", "-V"},
		{"haproxy", "-v"},
		{"keepalived", "--version"},
		{"pgpool", "--version"},
	} {
		text, err := output(ctx, command...)
		fmt.Fprintf(&b, "\n$ %s\n%s", strings.Join(command, " "), text)
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
		}
	}
	return b.Bytes()
}

// output is what a command prints, within a few seconds.
func output(ctx context.Context, command ...string) ([]byte, error) {
	text, err := proc.Run(ctx, proc.Command{Args: command, Timeout: 10 * time.Second})
	return []byte(text), err
}
