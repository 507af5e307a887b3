package main

import (
	"fmt"
	"strings"
	"time"
)

// short is a hash for a person.
func short(hash string) string { return hash[:min(len(hash), 8)] }

// age is how long something has been so, as far as a person cares.
func age(since, at time.Time) string {
	d := at.Sub(since)
	switch {
	case since.IsZero():
		return "-"
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func timeline(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// size is a number of bytes for a person.
func size(n uint64) string {
	const k = 1 << 10
	switch {
	case n < k:
		return fmt.Sprintf("%d B", n)
	case n < k*k:
		return fmt.Sprintf("%d kB", n/k)
	case n < k*k*k:
		return fmt.Sprintf("%d MB", n/k/k)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/k/k/k)
}

// words are a word of the model for a person.
func words(word string) string { return strings.ReplaceAll(word, "_", " ") }

// moment is a time for a person, in his zone: its date too if it is another day.
func moment(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Local().Format(time.DateOnly) == now.Local().Format(time.DateOnly):
		return t.Local().Format(time.TimeOnly)
	}
	return t.Local().Format(time.DateTime)
}
