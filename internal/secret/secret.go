// Package secret keeps passwords, tokens and keys out of what is printed: logs,
// errors, diffs, the status line.
//
// A secret is known by its form, as in password=x, or by its value: what was
// seen once in such a form, in a config, a key of the store or a rendered file, is
// hidden wherever it stands afterwards, as in the words of a daemon that refuses
// it. A value shorter than four bytes is hidden by its form alone: it would hide half of every
// sentence.
package secret

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// mark stands where a secret was.
const mark = "<hidden>"

const (
	shortest = 4
	most     = 20_000 // values; the oldest go first
)

// Keeper knows secrets. Nil knows none, and finds those of a known form. It may
// be used by several goroutines.
type Keeper struct {
	mu    sync.RWMutex
	known map[string]struct{}
	order []string          // the known ones, the oldest first
	hide  *strings.Replacer // nil: to be made of them
}

// Know adds values.
func (k *Keeper) Know(values ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range values {
		for _, form := range forms(v) {
			if _, has := k.known[form]; has || len(form) < shortest {
				continue
			}
			if k.known == nil {
				k.known = map[string]struct{}{}
			}
			if len(k.order) == most {
				delete(k.known, k.order[0])
				k.order = k.order[1:]
			}
			k.known[form] = struct{}{}
			k.order = append(k.order, form)
			k.hide = nil
		}
	}
}

// Learn adds the secrets that stand in a text.
func (k *Keeper) Learn(text string) { k.Know(Find(text)...) }

// forms are how a value may be written in a message.
func forms(v string) []string {
	all := []string{v, strings.Trim(strconv.Quote(v), `"`), url.QueryEscape(v), url.PathEscape(v)}
	if text, err := json.Marshal(v); err == nil {
		all = append(all, strings.Trim(string(text), `"`))
	}
	return all
}

// Hide replaces what is secret in a text.
func (k *Keeper) Hide(text string) string {
	return conceal(k.replacer().Replace(text), func(string) string { return mark })
}

// Veil replaces what is secret in texts that are compared: the same secret is the
// same word in all of them, and another one is another word.
func (k *Keeper) Veil(texts ...string) []string {
	words := map[string]string{}
	word := func(v string) string {
		if words[v] == "" {
			words[v] = fmt.Sprintf("<hidden %d>", len(words)+1)
		}
		return words[v]
	}
	var values []string
	for _, text := range texts {
		values = append(values, Find(text)...)
	}
	if k != nil {
		k.mu.RLock()
		values = append(values, k.order...)
		k.mu.RUnlock()
	}
	var pairs []string
	for _, v := range longest(values) {
		if len(v) >= shortest && slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, v) }) {
			pairs = append(pairs, v, word(v))
		}
	}
	known := strings.NewReplacer(pairs...)
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = conceal(known.Replace(text), word)
	}
	return out
}

func (k *Keeper) replacer() *strings.Replacer {
	if k == nil {
		return strings.NewReplacer()
	}
	k.mu.RLock()
	hide := k.hide
	k.mu.RUnlock()
	if hide != nil {
		return hide
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var pairs []string
	for _, v := range longest(k.order) {
		pairs = append(pairs, v, mark)
	}
	k.hide = strings.NewReplacer(pairs...)
	return k.hide
}

// longest sorts values, so that one that begins with another is found first.
func longest(values []string) []string {
	sorted := slices.Clone(values)
	slices.SortStableFunc(sorted, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return sorted
}

// Writer hides what is secret in each Write, and passes it on.
func (k *Keeper) Writer(w io.Writer) io.Writer { return &writer{k, w} }

type writer struct {
	keeper *Keeper
	to     io.Writer
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.to, w.keeper.Hide(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Unwrap is where it writes to.
func (w *writer) Unwrap() io.Writer { return w.to }
