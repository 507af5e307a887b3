package consul

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pgbaton/pgbaton/watcher"
)

// said answers every request alike.
type said struct {
	status int
	header http.Header
	body   string
}

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: http.StatusText(s.status), StatusCode: s.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: s.header.Clone(), Body: io.NopCloser(strings.NewReader(s.body)), ContentLength: int64(len(s.body)), Request: r,
	}, nil
}

// FuzzAnswer: whatever stands in Consul's place answers, it is an error unless it is
// JSON and has Consul's marks on it; and what is told as absent was not found by a
// server that knows a leader.
func FuzzAnswer(f *testing.F) {
	pair := `[{"LockIndex":1,"Key":"k","Flags":0,"Value":"cGcx","Session":"s","CreateIndex":7,"ModifyIndex":8}]`
	instance := `[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"a","Service":"a","Tags":["x"],"Port":1,"Weights":{}},"Checks":[{"Status":"passing"}]}]`
	for _, body := range []string{
		pair, instance, `[null]`, `null`, `[]`, `{}`, `[{}]`, `[{"Node":null}]`, `[{"Node":{},"Service":{},"Checks":[null]}]`, `{"Roots":[null]}`,
		`{"Node":{},"Services":{"a":null}}`, `{"a":null}`, `"text"`, `<html>`, pair[:20], `[{"Value":"no base64"}]`, `[{"Key":null,"Value":null}]`, strings.Repeat("[", 20000),
		`[{"Service":"a","Consumers":null}]`, `[{"StreamStatus":null,"Remote":null}]`, `{"Partitions":[null]}`,
	} {
		f.Add(200, "12", "true", "0", body)
	}
	f.Add(404, "12", "true", "0", "")
	f.Add(404, "", "", "", "not found")
	f.Add(200, "-1", "true", "0", pair)
	f.Add(200, "18446744073709551616", "true", "0", pair)
	f.Add(200, "12", "false", "0", pair)
	f.Add(200, "12", "true", "1500", pair)
	f.Add(500, "12", "true", "0", "No cluster leader")
	f.Fuzz(func(t *testing.T, status int, index, known, contact, body string) {
		if status < 200 || status > 599 {
			return // nothing that an HTTP client hands on
		}
		header := http.Header{"X-Consul-Index": {index}, "X-Consul-Knownleader": {known}, "X-Consul-Lastcontact": {contact}}
		opened, err := (&Config{Address: "127.0.0.1:1", Wait: "10ms"}).open(said{status, header, body})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []watcher.Kind{
			watcher.Key, watcher.Prefix, watcher.Service, watcher.Services, watcher.Node, watcher.Nodes, watcher.Datacenters,
			watcher.Connect, watcher.Partitions, watcher.Peerings, watcher.Exported, watcher.Imported, watcher.CARoots, watcher.CALeaf,
		} {
			q := watcher.Query{Kind: kind, Path: "k"}
			a, err := opened.Fetch(t.Context(), q, 0)
			if err != nil {
				if a.Presence != watcher.Unknown || a.Value != nil {
					t.Errorf("%s: an error beside %+v", q, a)
				}
				continue
			}
			if a.Presence == watcher.Unknown || a.Rev == 0 {
				t.Errorf("%s: neither an error nor an answer: %+v", q, a)
			}
			if notFound := status == http.StatusNotFound && (kind == watcher.Key || kind == watcher.Prefix); !notFound && !json.Valid(firstValue(body)) {
				t.Errorf("%s: %d with %q is the answer %+v", q, status, body, a)
			}
			if (kind == watcher.Key || kind == watcher.Prefix) && (known != "true" || contact != "0" && strings.Trim(contact, "0") != "") {
				t.Errorf("%s: leader known %q, last contact %q is the answer %+v", q, known, contact, a)
			}
		}
	})
}

// firstValue is the JSON value that a text begins with: what follows is not read.
func firstValue(text string) []byte {
	var raw json.RawMessage
	if json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&raw) != nil {
		return nil
	}
	return raw
}
