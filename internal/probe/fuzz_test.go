package probe

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/pgbaton/pgbaton/watcher/cluster"
)

// said answers every request alike.
type said struct {
	status int
	body   string
}

func (s said) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: http.StatusText(s.status), StatusCode: s.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(s.body)), Request: r,
	}, nil
}

// FuzzAnswer: whatever a member's Patroni answers, or whoever has its port by now, a
// server takes writes only if it says so itself.
func FuzzAnswer(f *testing.F) {
	primary := `{"state":"running","role":"primary","timeline":3,"database_system_identifier":"7226","server_version":150004}`
	for _, body := range []string{
		primary, strings.Replace(primary, "primary", "master", 1), strings.Replace(primary, "primary", "replica", 1), strings.Replace(primary, "running", "starting", 1),
		primary[:60], primary + "x", "[" + primary + "]", "null", "{}", `"primary"`, "<html>", `{"state":"running","role":["primary"]}`, `{"STATE":"running","Role":"primary"}`,
		`{"state":"running","role":"primary","timeline":-1}`, `{"state":"running","role":"primary","timeline":1e99}`, `{"state":"running","role":"primary","role":"replica"}`,
		strings.Repeat("[", 20000), `{"role":"primary","state":"run` + "\x00" + `ning"}`,
	} {
		f.Add(200, body)
		f.Add(503, body)
	}
	f.Add(302, primary)
	f.Add(404, primary)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return // nothing that an HTTP client hands on
		}
		p, err := New(Config{Ways: []cluster.Way{cluster.WayAPI}}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		p.client.Transport = said{status, body}
		e, err := p.askAPI(t.Context(), cluster.Member{Name: "pg1", API: "http://127.0.0.1:8008/patroni"})
		if err != nil {
			if e.Verdict != cluster.Unclear {
				t.Errorf("an error beside %+v", e)
			}
			return
		}
		var is map[string]any
		if json.NewDecoder(strings.NewReader(body)).Decode(&is) != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("%d with %q is evidence: %+v", status, body, e)
		}
		if e.Verdict == cluster.Writable && (!strings.Contains(body, "running") && !strings.Contains(body, `\u`)) {
			t.Errorf("%q takes writes: %+v", body, e)
		}
		if status != http.StatusOK && e.Verdict == cluster.Writable && !strings.Contains(body, "running") && !strings.Contains(body, `\u`) {
			t.Errorf("%d with %q takes writes", status, body)
		}
	})
}
