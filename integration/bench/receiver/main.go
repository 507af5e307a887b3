// Command receiver stands for a daemon that reloads at SIGHUP: it prints the
// time at which each one came, in nanoseconds since the epoch.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	hups := make(chan os.Signal, 16)
	signal.Notify(hups, syscall.SIGHUP)
	out := os.NewFile(3, "times") // stdout is for what goes wrong
	fmt.Fprintln(out, "ready")
	for range hups {
		fmt.Fprintln(out, time.Now().UnixNano())
	}
}
