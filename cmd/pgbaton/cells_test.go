package main

import (
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0s", 7400 * time.Millisecond: "7s", 10*time.Minute + 20*time.Second: "10m20s", 5 * time.Minute: "5m0s",
		3*time.Hour + 20*time.Minute + 29*time.Second: "3h20m", 30 * time.Hour: "30h0m", 50 * time.Hour: "2d",
	} {
		if got := age(at.Add(-d), at); got != want {
			t.Errorf("%v is shown as %s, not %s", d, got, want)
		}
	}
	if got := age(time.Time{}, at); got != "-" {
		t.Errorf("what was never so is shown as %s", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 kB", 10_000_000: "9 MB", 3 << 30: "3.0 GB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are shown as %s, not %s", n, got, want)
		}
	}
}
