package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	const pass = `{"Action":"output","Package":"p","Test":"A","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	tests := []struct {
		name, in string
		code     int
		out      string
	}{
		{"pass", pass, 0, "ok  \tp\t0.1s\n1 tests passed in 1 packages, 0 failed, 0 skipped, 0 packages failed\n"},
		{"nothing", "", 1, "0 tests passed in 0 packages, 0 failed, 0 skipped, 0 packages failed\n"},
		{
			"fail", pass + `{"Action":"output","Package":"q","Test":"B","Output":"why\n"}
{"Action":"fail","Package":"q","Test":"B"}
{"Action":"fail","Package":"q"}`,
			1, "ok  \tp\t0.1s\nwhy\nFAILED q B, 0 s\n1 tests passed in 1 packages, 1 failed, 0 skipped, 1 packages failed\n",
		},
		{
			"fail, and its server says much", `{"Action":"output","Package":"q","Test":"B","Output":"=== RUN   B\n    b_test.go:3: no\n        leader\n"}
{"Action":"output","Package":"q","Test":"B","Output":"    server.go:9: noise\n        noise\n--- FAIL: B (60.10s)\n"}
{"Action":"fail","Package":"q","Test":"B","Elapsed":60.1}`,
			1, "=== RUN   B\n    b_test.go:3: no\n        leader\n    server.go:9: noise\n        noise\n--- FAIL: B (60.10s)\n" +
				"FAILED q B, 60 s\n    b_test.go:3: no\n        leader\n0 tests passed in 0 packages, 1 failed, 0 skipped, 0 packages failed\n",
		},
		{
			"skip", pass + `{"Action":"skip","Package":"q","Test":"B"}`,
			1, "ok  \tp\t0.1s\nSKIPPED q B\n1 tests passed in 1 packages, 0 failed, 1 skipped, 0 packages failed\n",
		},
		{
			"panic in the middle of a test", pass + `{"Action":"output","Package":"q","Test":"B","Output":"panic: no\n"}
{"Action":"fail","Package":"q"}`,
			1, "ok  \tp\t0.1s\npanic: no\n1 tests passed in 1 packages, 0 failed, 0 skipped, 1 packages failed\n",
		},
		{
			"does not build", `{"ImportPath":"q","Action":"build-output","Output":"x.go:1: no\n"}
{"Action":"fail","Package":"q"}`,
			1, "x.go:1: no\n0 tests passed in 0 packages, 0 failed, 0 skipped, 1 packages failed\n",
		},
		{"not JSON", "go: no such package\n", 1, "go: no such package\n0 tests passed in 0 packages, 0 failed, 0 skipped, 0 packages failed\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := run(strings.NewReader(tt.in), &out); code != tt.code || out.String() != tt.out {
				t.Errorf("exit %d, wanted %d; printed\n%swanted\n%s", code, tt.code, out.String(), tt.out)
			}
		})
	}
}
