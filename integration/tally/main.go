// Command tally reads what `go test -json` prints, shows what go test would
// show without -json, and counts at the end: what ran, and what did not.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	os.Exit(run(os.Stdin, os.Stdout))
}

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build event, which has no Package
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

type test struct{ pkg, name string }

// run returns 1 if a test or a package failed, if a test was skipped, or if
// nothing passed at all.
func run(in io.Reader, out io.Writer) int {
	var (
		passed, failedTests, failedPkgs, pkgs int
		skipped                               []test
		failures                              []string
		output                                = map[test]*strings.Builder{}
	)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		key := test{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if e.Test == "" {
				if e.Output != "PASS\n" && e.Output != "FAIL\n" {
					fmt.Fprint(out, e.Output)
				}
				break
			}
			if output[key] == nil {
				output[key] = &strings.Builder{}
			}
			output[key].WriteString(e.Output)
		case "pass", "fail", "skip":
			switch {
			case e.Test == "" && e.Action == "fail":
				failedPkgs++
				// A test that was running when the package died has said nothing yet.
				for k, o := range output {
					if k.pkg == e.Package {
						fmt.Fprint(out, o)
						delete(output, k)
					}
				}
			case e.Test == "" && e.Action == "pass":
				pkgs++
			case e.Test == "":
			case e.Action == "pass":
				passed++
			case e.Action == "fail":
				failedTests++
				fmt.Fprint(out, output[key])
				failures = append(failures, fmt.Sprintf("FAILED %s %s, %.0f s\n%s", key.pkg, key.name, e.Elapsed, reason(output[key].String())))
			case e.Action == "skip":
				skipped = append(skipped, key)
			}
			delete(output, key)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(out, "read go test's output:", err)
		return 1
	}
	// Said once more at the end: a CI that keeps the last lines keeps the servers' otherwise.
	for _, f := range failures {
		fmt.Fprint(out, f)
	}
	for _, k := range skipped {
		fmt.Fprintf(out, "SKIPPED %s %s\n", k.pkg, k.name)
	}
	fmt.Fprintf(out, "%d tests passed in %d packages, %d failed, %d skipped, %d packages failed\n",
		passed, pkgs, failedTests, len(skipped), failedPkgs)
	if failedTests+failedPkgs+len(skipped) > 0 || passed == 0 {
		return 1
	}
	return 0
}

// reason is what a test said for itself of all that it printed, the beginning of
// each message: what it has from its servers comes from other files.
func reason(output string) string {
	const lines, columns = 8, 400
	var b strings.Builder
	left := 0
	for line := range strings.Lines(output) {
		if m := said.FindStringSubmatch(line); m != nil {
			left = 0
			if strings.HasSuffix(m[1], "_test.go") {
				left = lines
			}
		}
		if left == 0 {
			continue
		}
		left--
		line = strings.TrimRight(line, "\n")
		if len(line) > columns {
			line = strings.ToValidUTF8(line[:columns], "") + " …"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// said matches the first line of a message, which names the file that said it,
// and of a verdict.
var said = regexp.MustCompile(`^\s*(?:(\w+\.go):\d+: |--- |=== )`)
