package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgbaton/pgbaton/internal/status"
)

// progress is a terminal with a last line that says what is waited for, and that makes
// room for whatever else is written. Nil shows nothing.
type progress struct {
	to *os.File

	mu    sync.Mutex
	shown string // the last line, as it stands now; "" is none
}

const (
	showAfter = 700 * time.Millisecond // nobody asks what takes less
	showEvery = 200 * time.Millisecond
	erase     = "\r\x1b[K"
)

// awaited is what several targets wait for.
type awaited struct {
	mu    sync.Mutex
	texts []string // by target; "" waits for nothing
}

func (a *awaited) set(i int, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.texts[i] = text
}

func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(slices.DeleteFunc(slices.Compact(slices.Clone(a.texts)), func(t string) bool { return t == "" }), "; ")
}

// newProgress is nil unless w is a terminal that knows how to erase a line.
func newProgress(w io.Writer) *progress {
	f, is := w.(*os.File)
	if !is || !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &progress{to: f}
}

// Unwrap returns the terminal.
func (p *progress) Unwrap() io.Writer { return p.to }

// Write implements io.Writer: what is written goes above the line.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown == "" {
		return p.to.Write(text)
	}
	shown := p.shown
	p.draw("")
	n, err := p.to.Write(text)
	p.draw(shown)
	return n, err
}

// draw makes a line the last one; "" takes it away. The caller holds the lock.
func (p *progress) draw(line string) {
	if p.shown != "" || line != "" {
		_, _ = io.WriteString(p.to, erase+line)
	}
	p.shown = line
}

// during shows what is waited for, and for how long, until end is called. what may be "".
func (p *progress) during(what func() string) (end func()) {
	if p == nil {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	begun := time.Now()
	go func() {
		defer close(stopped)
		next := time.NewTimer(showAfter)
		defer next.Stop()
		for {
			select {
			case <-stop:
				p.say("")
				return
			case <-next.C:
			}
			text := what()
			if text != "" {
				text = fmt.Sprintf("waiting, %v: %s", time.Since(begun).Truncate(time.Second), status.OneLine(text))
			}
			p.say(text)
			next.Reset(showEvery)
		}
	}()
	return sync.OnceFunc(func() {
		close(stop)
		<-stopped
	})
}

// say shows a line, as much of it as the terminal is wide.
func (p *progress) say(line string) {
	width := 80
	if size, err := unix.IoctlGetWinsize(int(p.to.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		width = int(size.Col)
	}
	if runes := []rune(line); len(runes) >= width {
		line = strings.TrimSpace(string(runes[:max(width-2, 0)])) + "…"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if line != p.shown {
		p.draw(line)
	}
}
