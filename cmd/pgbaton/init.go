package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgbaton/pgbaton/internal/config"
	"github.com/pgbaton/pgbaton/internal/explain"
	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/internal/setup"
	"github.com/pgbaton/pgbaton/render"
)

func initVerb(std stdio) *cobra.Command {
	var wish setup.Wish
	var out string
	var force bool
	cmd := &cobra.Command{
		Use: "init",
		Example: `  # beside Patroni on Consul, for the pgbouncer of this machine
  pgbaton init -patroni batman -pgbouncer /etc/pgbouncer -out pgbouncer.hcl
  # scope, store and TLS as Patroni has them; print it
  pgbaton init -from-patroni patroni.yml -haproxy /etc/haproxy -out -`,
		Short: "Write a first config, from what this machine has",
		Long: `Writes a first config for pgbaton. It looks at Patroni's own config, at the configs of pgbouncer, HAProxy and keepalived, and at
those of them that run, and says beside each setting whether it was found or guessed. On a terminal it asks for what no flag
says; elsewhere it takes the daemons whose configs are where Debian's packages have them. Passwords are never copied: it says which file is to hold them. It changes nothing but the file that it writes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settle(cmd, std, &wish); err != nil {
				return err
			}
			return writeFirst(std, wish, out, force)
		},
	}
	f := cmd.Flags()
	f.StringVar(&wish.Scope, "patroni", "", "Patroni's `scope`")
	f.StringVar(&wish.PatroniFile, "from-patroni", "", "take scope, namespace, store and TLS from Patroni's own config `file`")
	f.StringVar(&wish.Namespace, "namespace", "", "Patroni's `namespace`, if it is not service")
	f.StringVar(&wish.Consul, "consul", "", "`address` of Consul, if it is not the agent of this machine")
	f.StringVar(&wish.Etcd, "etcd", "", "`endpoints` of etcd, separated by commas, if the keys are there")
	f.StringVar(&wish.ZooKeeper, "zookeeper", "", "`hosts` of ZooKeeper, separated by commas, if the keys are there")
	f.StringVar(&wish.PgBouncer, "pgbouncer", "", "pgbouncer's config `file`, or its folder")
	f.StringVar(&wish.HAProxy, "haproxy", "", "HAProxy's config `file`, or its folder")
	f.StringVar(&wish.Keepalived, "keepalived", "", "keepalived's config `file`, or its folder")
	f.StringVar(&wish.Address, "address", "", "the virtual `address` of keepalived, as 192.0.2.10/24")
	f.StringVar(&wish.Interface, "interface", "", "the network `interface` that gets it")
	f.StringVar(&wish.User, "user", "", "the system `user` that pgbaton is to run as")
	f.StringVar(&out, "out", "pgbaton.hcl", "the `file` to write; - is standard output")
	f.BoolVar(&force, "force", false, "write over a file that is there")
	return cmd
}

// errUnasked is a wish that says too little, with nobody to ask.
var errUnasked = errors.New("name the cluster with -patroni SCOPE or -from-patroni FILE, and a daemon with -pgbouncer, -haproxy or -keepalived")

// settle completes a wish: by questions where a person sits, else by what the machine
// has.
func settle(cmd *cobra.Command, std stdio, w *setup.Wish) error {
	here := setup.Here()
	person := isTerminal(std.in)
	if stores := slices.DeleteFunc([]string{w.Consul, w.Etcd, w.ZooKeeper}, func(s string) bool { return s == "" }); len(stores) > 1 {
		return usage(errors.New("-consul, -etcd and -zookeeper exclude each other: a cluster's keys are in one store"), cmd.CommandPath())
	}
	cluster, daemon := w.Scope+w.PatroniFile != "", w.PgBouncer+w.HAProxy+w.Keepalived != ""
	if person && (!cluster || !daemon) {
		return ask(std, w, here)
	}
	if !cluster {
		w.PatroniFile = here.PatroniFile
	}
	if !daemon {
		w.PgBouncer, w.HAProxy, w.Keepalived = here.PgBouncer, here.HAProxy, here.Keepalived
	}
	if w.Scope+w.PatroniFile == "" || w.PgBouncer+w.HAProxy+w.Keepalived == "" {
		return usage(errUnasked, cmd.CommandPath())
	}
	return nil
}

// ask asks for what no flag says. What was found is the answer of whoever presses enter.
func ask(std stdio, w *setup.Wish, here setup.Wish) error {
	lines := bufio.NewReader(std.in)
	put := func(question, found string) (string, error) {
		_, _ = fmt.Fprintf(std.err, "%s [%s]: ", question, found)
		line, err := lines.ReadString('\n')
		if err != nil {
			_, _ = fmt.Fprintln(std.err)
			return "", usage(errors.New("nothing is written: a question was not answered"), "answer it, or use flags: pgbaton init")
		}
		switch line = strings.TrimSpace(line); line {
		case "":
			return found, nil
		case "-", "none":
			return "", nil
		}
		return line, nil
	}
	_, _ = fmt.Fprintln(std.err, "Enter takes what stands in brackets; - is none.")
	var err error
	if w.Scope+w.PatroniFile == "" {
		if w.PatroniFile, err = put("Patroni's config on this machine", here.PatroniFile); err != nil {
			return err
		}
	}
	for w.Scope+w.PatroniFile == "" {
		if w.Scope, err = put("Patroni's scope", ""); err != nil {
			return err
		}
	}
	if w.PatroniFile == "" && w.Consul+w.Etcd+w.ZooKeeper == "" {
		if w.Consul, err = put("address of Consul", "127.0.0.1:8500"); err != nil {
			return err
		}
	}
	if w.PgBouncer+w.HAProxy+w.Keepalived != "" {
		return nil
	}
	for _, d := range []struct {
		name, found string
		into        *string
	}{{"pgbouncer", here.PgBouncer, &w.PgBouncer}, {"HAProxy", here.HAProxy, &w.HAProxy}, {"keepalived", here.Keepalived, &w.Keepalived}} {
		if *d.into, err = put(d.name+"'s config", d.found); err != nil {
			return err
		}
	}
	if w.PgBouncer+w.HAProxy+w.Keepalived == "" {
		return usage(errors.New("nothing is written: there is no daemon to keep in sync"), "pgbaton init")
	}
	if w.Keepalived != "" && w.Address == "" && here.Keepalived == "" {
		w.Address, err = put("the virtual address, as 192.0.2.10/24", "")
	}
	return err
}

// writeFirst makes a config, and writes it if it is a good one.
func writeFirst(std stdio, w setup.Wish, out string, force bool) error {
	made, err := setup.Make(w)
	if err != nil {
		return err
	}
	name := out
	if out == "-" {
		name = "pgbaton.hcl"
	}
	c, problems := load(sources{extra: []config.Extra{{Name: name, Text: made.Text, Exact: true}}})
	if c != nil && len(made.Files) == 0 {
		problems = append(problems, checkTemplates(c)...)
	}
	if problems.Fatal() {
		return problems
	}
	if out == "-" {
		_, err = fmt.Fprint(std.out, made.Text)
		for _, f := range made.Files {
			made.Todo = append(made.Todo, fmt.Sprintf("%s is not written, as nothing is: with -out FILE it is made from %s, beside that file", f.Name, f.Like))
		}
	} else {
		err = putFiles(out, made, force)
	}
	if err != nil {
		return err
	}
	colour := coloured(std.err)
	if out != "-" {
		_, _ = fmt.Fprintf(std.err, "%s %s\n", paint("wrote", "32", colour), out)
		for _, f := range made.Files {
			_, _ = fmt.Fprintf(std.err, "%s %s\n", paint("wrote", "32", colour), filepath.Join(filepath.Dir(out), f.Name))
		}
	}
	for _, t := range made.Todo {
		_, _ = fmt.Fprintf(std.err, "%s %s\n", paint("to do:", "33", colour), t)
	}
	_, _ = fmt.Fprintf(std.err, "then: pgbaton check -config %[1]s; pgbaton diff -config %[1]s; pgbaton run -config %[1]s\n", name)
	return nil
}

// putFiles writes a config and what it names, whole; what is there stays, without force.
func putFiles(path string, made setup.Config, force bool) error {
	files := []render.File{plain(path, made.Text)}
	for _, f := range made.Files {
		d := render.Destination{Path: filepath.Join(filepath.Dir(path), f.Name)}
		info, err := os.Stat(f.Like)
		if err != nil {
			return err
		}
		mode := info.Mode().Perm()
		d.Perms = &mode
		if os.Geteuid() == 0 {
			if d.User, err = render.UserID(f.User); err != nil {
				return err
			}
		}
		files = append(files, render.File{Destination: d, Content: []byte(f.Text)})
	}
	if !force {
		for _, f := range files {
			if err := unused(f.Path, "-force writes over it, -out names another file, -out - prints"); err != nil {
				return err
			}
		}
	}
	return swapIn(files...)
}

// plain is a file that everybody may read.
func plain(path, text string) render.File {
	perms := fs.FileMode(0o644)
	return render.File{Destination: render.Destination{Path: path, Perms: &perms}, Content: []byte(text)}
}

// unused refuses a path that something lies at.
func unused(path, advice string) error {
	if _, err := os.Lstat(path); err == nil {
		return explain.Mark(hint.Wrap(fmt.Errorf("%s is there already", path), "%s", advice), explain.FileExists)
	}
	return nil
}

// swapIn writes files whole, as targets have theirs.
func swapIn(files ...render.File) error {
	set, err := render.Stage(files)
	if errors.Is(err, fs.ErrNotExist) {
		return hint.Wrap(err, "make the folder %s", filepath.Dir(files[0].Path))
	}
	if err != nil {
		return err
	}
	if err := set.Rename(); err != nil {
		return err
	}
	return set.Sync()
}
