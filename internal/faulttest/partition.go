package faulttest

import (
	"os/exec"
	"testing"
)

// Cut drops all that goes from a network namespace to some addresses, and what
// comes from them; without an address all but loopback. It is mended when it is
// asked to be, and when the test ends.
func Cut(t testing.TB, namespace string, addrs ...string) (mend func()) {
	t.Helper()
	var rules [][]string
	for _, a := range addrs {
		rules = append(rules, []string{"INPUT", "-s", a, "-j", "DROP"}, []string{"OUTPUT", "-d", a, "-j", "DROP"})
	}
	if len(addrs) == 0 {
		rules = [][]string{{"INPUT", "!", "-i", "lo", "-j", "DROP"}, {"OUTPUT", "!", "-o", "lo", "-j", "DROP"}}
	}
	var mends []func()
	for _, r := range rules {
		mends = append(mends, Rule(t, namespace, "filter", r...))
	}
	return func() {
		for _, m := range mends {
			m()
		}
	}
}

// Rule adds a rule, which begins with its chain, to a table of a network
// namespace's iptables.
func Rule(t testing.TB, namespace, table string, rule ...string) (remove func()) {
	t.Helper()
	do := func(what string) []string {
		return append([]string{"netns", "exec", namespace, "iptables", "-w", "-t", table, what}, rule...)
	}
	ip(t, do("-A")...)
	there := true
	t.Cleanup(func() {
		if there { // the test is over: it has failed
			_ = exec.Command("ip", do("-D")...).Run()
		}
	})
	return func() {
		t.Helper()
		if there {
			there = false
			ip(t, do("-D")...)
		}
	}
}
