package servertest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// CPU is what the threads of a living process have used of the CPU so far, in
// nanoseconds: the kernel's ticks would miss those that run for less than one. process is
// its folder below /proc.
func CPU(t testing.TB, process string) (sum float64) {
	t.Helper()
	stats, err := filepath.Glob(process + "/task/[0-9]*/schedstat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		ns, _, _ := strings.Cut(string(content), " ")
		n, err := strconv.ParseFloat(ns, 64)
		if err != nil {
			t.Fatalf("%s: %q", path, content)
		}
		sum += n
	}
	return sum
}

// CPUBelow is the same of all processes whose name begins with name and that work below
// a folder.
func CPUBelow(t testing.TB, dir, name string) (sum float64) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		called, _ := os.ReadFile(filepath.Join(p, "comm"))
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if strings.HasPrefix(string(called), name) && strings.HasPrefix(cwd, dir) {
			sum += CPU(t, p)
		}
	}
	return sum
}
