package docker_test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pgbaton/pgbaton/internal/servertest"
)

// program is what runs in the containers: it says which signals it got.
const program = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGUSR1)
	fmt.Println("ready")
	for s := range got {
		fmt.Println("got", s)
	}
}
`

// image imports an image with nothing but the program.
func image(t *testing.T, d *servertest.Docker) {
	t.Helper()
	dir := t.TempDir()
	source := servertest.File(t, filepath.Join(dir, "main.go"), program, 0o644)
	binary := filepath.Join(dir, "listen")
	build := exec.Command("go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the container's program: %v: %s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "listen", Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.Feed(t, &layer, "import", "-", "listen")
}
