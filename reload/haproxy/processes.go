package haproxy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errNoMaster tells of a `show proc` without a master, as when it is cut short.
var errNoMaster = errors.New("show proc has no master")

// processes is what `show proc` tells.
type processes struct {
	master  int         // process ID
	reloads int         // how often the master reloaded, or tried to
	failed  int         // how many of them failed since the last that did not
	workers map[int]int // process ID → how many reloads ago it began; those that leave are not among them
	old     []int       // those that leave, once their last session ends

	started map[int]time.Time // process ID of a worker → when it began, to the second
}

// parseProcesses reads an answer to `show proc`. Columns go by their names, for
// 2.4 and before have one more; "[failed: N]" is there from 2.5.
func parseProcesses(text string, now time.Time) (processes, error) {
	p := processes{workers: map[int]int{}, started: map[int]time.Time{}}
	failed := regexp.MustCompile(`\[failed: *(\d+)\]`)
	was := regexp.MustCompile(`\[was: *(\d+)\]`) // how up to 2.4 tells of an old worker's number
	columns := map[string]int{}
	leaving := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if heading, is := strings.CutPrefix(line, "#"); is {
			if strings.HasPrefix(heading, "<PID>") {
				columns = names(heading)
			}
			leaving = strings.TrimSpace(heading) == "old workers"
			continue
		}
		failures := 0
		if m := failed.FindStringSubmatch(line); m != nil {
			failures, _ = strconv.Atoi(m[1])
			line = strings.Replace(line, m[0], "", 1)
		}
		fields := strings.Fields(was.ReplaceAllString(line, "$1"))
		pid, reloads, ok := numbers(fields, columns)
		if !ok {
			continue
		}
		switch fields[columns["type"]] {
		case "master":
			p.master, p.reloads, p.failed = pid, reloads, failures
		case "worker":
			if leaving {
				p.old = append(p.old, pid)
				continue
			}
			p.workers[pid] = reloads
			if i, told := columns["uptime"]; told && i < len(fields) {
				if age, ok := uptime(fields[i]); ok {
					p.started[pid] = now.Add(-age)
				}
			}
		}
	}
	if p.master == 0 {
		return processes{}, fmt.Errorf("%w: %.200q", errNoMaster, text)
	}
	return p, nil
}

// names reads the heading, whose names stand in brackets, blanks included.
func names(heading string) map[string]int {
	columns := map[string]int{}
	for i, m := range regexp.MustCompile(`<([^>]+)>`).FindAllStringSubmatch(heading, -1) {
		columns[m[1]] = i
	}
	return columns
}

func numbers(fields []string, columns map[string]int) (pid, reloads int, ok bool) {
	at := func(name string) (string, bool) {
		i, known := columns[name]
		if !known || i >= len(fields) {
			return "", false
		}
		return fields[i], true
	}
	pidText, hasPID := at("PID")
	_, hasType := at("type")
	reloadsText, hasReloads := at("reloads")
	if !hasPID || !hasType || !hasReloads {
		return 0, 0, false
	}
	pid, err := strconv.Atoi(pidText)
	if err != nil {
		return 0, 0, false
	}
	reloads, err = strconv.Atoi(reloadsText)
	return pid, reloads, err == nil && pid > 0 && reloads >= 0
}

// uptime reads an age such as "0d00h02m07s".
func uptime(text string) (time.Duration, bool) {
	var d, h, m, s int
	if n, err := fmt.Sscanf(text, "%dd%dh%dm%ds", &d, &h, &m, &s); err != nil || n != 4 {
		return 0, false
	}
	return time.Duration(d*24+h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second, true
}

// fresh is a worker that began with the last reload and was not there before,
// or 0.
func (p processes) fresh(before processes) int {
	for pid, ago := range p.workers {
		if _, old := before.workers[pid]; !old && ago == 0 {
			return pid
		}
	}
	return 0
}
