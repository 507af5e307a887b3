//go:build bench

package bench

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (x *contestant) freeze(t *testing.T) { x.proc.Signal(t, syscall.SIGSTOP) }
func (x *contestant) thaw(t *testing.T)   { x.proc.Signal(t, syscall.SIGCONT) }

func printTable(n int, all []*contestant) {
	fmt.Printf("\n%-22s %9s %9s %9s %12s %9s %10s\n", clustersName(n), "p50", "p99", "× floor", "CPU seconds", "CPU", "peak RSS")
	floor := percentile(all[0].latencies, 50)
	for _, x := range all {
		p50 := percentile(x.latencies, 50)
		fmt.Printf("%-22s %6.2f ms %6.2f ms %8.2f× %12.2f %7.1f %% %7.1f MB\n", x.name,
			ms(p50), ms(percentile(x.latencies, 99)), float64(p50)/float64(floor),
			x.cpu.Seconds(), 100*x.cpu.Seconds()/x.turns.Seconds(), peakRSS(x.proc.Pid()))
	}
}

func clustersName(n int) string {
	if n == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", n)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile is the smallest value that p percent do not exceed.
func percentile(d []time.Duration, p int) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[(len(d)*p+99)/100-1]
}

// cpuTime is what a process and those of its children that it waited for have
// used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int64
	for _, s := range f[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseInt(s, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ
}

// peakRSS is in MB; 0 if the process is gone.
func peakRSS(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return field(string(b), "VmHWM:") / 1000
}

// filesystem is the kind that dir is on, as stat calls it.
func filesystem(t *testing.T, dir string) string {
	t.Helper()
	fs, err := exec.Command("stat", "-f", "-c", "%T", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(fs))
}

// machine describes where the figures come from.
func machine() string {
	cpu := "unknown CPU"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s.", runtime.NumCPU(), cpu, runtime.Version())
}

// field reads the number after a name in a file of /proc, in kB.
func field(text, name string) float64 {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb
		}
	}
	return 0
}
