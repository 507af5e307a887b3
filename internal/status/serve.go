package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

// Limits on whoever connects: they cost pgbaton no more than it can spare while it has
// something to do.
const (
	connections = 64
	headerTime  = 5 * time.Second
	requestTime = 10 * time.Second
	idleTime    = time.Minute
	headerBytes = 16 << 10
	unheardTime = 30 * time.Second
)

// Server is an HTTP server for a handler, and Limit its listener: both with limits.
func Server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes}
}

// Limit accepts so many connections at once as a status needs, and no more: whoever
// opens thousands must not cost the daemon its file descriptors.
func Limit(l net.Listener) net.Listener { return netutil.LimitListener(l, connections) }

// UserTimeout is the Control of a net.ListenConfig for TCP: a connection whose other end
// takes nothing more, or vanished without a word, is given up.
func UserTimeout(_, _ string, c syscall.RawConn) error {
	var err error
	control := c.Control(func(fd uintptr) { // what is accepted inherits it
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheardTime/time.Millisecond))
	})
	return errors.Join(control, err)
}

// Page is something more that the listener shows.
type Page struct {
	Path    string // as a pattern of http.ServeMux has it
	Handler http.Handler
}

// Handler shows the status to whoever can connect, and changes nothing:
//
//	/status.json  Public, as JSON
//	/healthz      200 while the process lives
//	/readyz       200 if NotReady is empty; else 503, with the reasons
//
// More pages are under the same rules: GET and HEAD alone, for this machine's own names,
// within the time of a request unless they move its limits.
func Handler(now func() Status, more ...Page) http.Handler {
	mux := http.NewServeMux()
	for _, p := range more {
		mux.Handle("GET "+p.Path, p.Handler)
	}
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) { Write(w, now().Public()) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { Say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := now().Public().NotReady(); len(reasons) > 0 {
			Say(w, http.StatusServiceUnavailable, "not ready", reasons...)
			return
		}
		Say(w, http.StatusOK, "ready")
	})
	return local(timed(mux))
}

// Write answers a request with a value as JSON.
func Write(w http.ResponseWriter, v any) {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	Head(w, "application/json")
	_, _ = w.Write(append(content, '\n'))
}

// Say answers a request with a text, and perhaps more lines.
func Say(w http.ResponseWriter, code int, text string, more ...string) {
	Head(w, "text/plain; charset=utf-8")
	w.WriteHeader(code)
	for _, line := range append([]string{text}, more...) {
		_, _ = fmt.Fprintln(w, line)
	}
}

// Head says what the content is, and that it is for whoever asked, now.
func Head(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
}

// timed ends a request that takes its time: no more of its body is read, and none of
// its answer written.
func timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		until := time.Now().Add(requestTime)
		_, _ = control.SetReadDeadline(until), control.SetWriteDeadline(until)
		r.Body = http.MaxBytesReader(w, r.Body, headerBytes)
		next.ServeHTTP(w, r)
	})
}

// local refuses a request over loopback that is not for this machine: a page of some
// web site whose name leads to 127.0.0.1 for once could read it in a browser here.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); addr != nil && loopback(addr.String()) && !ours(r.Host) {
			Say(w, http.StatusMisdirectedRequest, fmt.Sprintf("%q is not a name of this machine: ask for localhost", OneLine(r.Host)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback says whether HOST:PORT, or HOST, can be reached from this machine alone.
func loopback(address string) bool {
	host := hostOf(address)
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || err != nil && strings.EqualFold(host, "localhost")
}

// ours says whether a host that was asked for is this machine's: no name that a
// stranger can lead elsewhere is.
func ours(host string) bool {
	name, _ := os.Hostname()
	return loopback(host) || name != "" && strings.EqualFold(hostOf(host), name)
}

// hostOf is the host of HOST:PORT or HOST, an IPv6 address without its brackets.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}
