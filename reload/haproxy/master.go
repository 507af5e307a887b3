package haproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pgbaton/pgbaton/internal/hint"
)

// master is the socket of a master process. Each command is a connection of its
// own, for a reload closes them all.
type master struct{ path string }

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 1 << 20

// ask sends one command and reads its answer, which ends with an empty line or
// with the connection.
func (m master) ask(ctx context.Context, command string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", m.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(conn, "%s\n", command); err != nil {
		return "", because(ctx, err)
	}
	var answer bytes.Buffer
	chunk := make([]byte, 16<<10)
	for answer.Len() < maxAnswer {
		n, err := conn.Read(chunk)
		answer.Write(chunk[:n])
		// The socket may stay open for a next command.
		if errors.Is(err, io.EOF) || bytes.HasSuffix(answer.Bytes(), []byte("\n\n")) || answer.String() == "\n" {
			return answer.String(), nil
		}
		if err != nil {
			return answer.String(), because(ctx, err)
		}
	}
	return "", fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
}

// because says that ctx ended if that is why.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// show asks for the processes.
func (m master) show(ctx context.Context) (processes, error) {
	answer, err := m.ask(ctx, "show proc")
	if err != nil {
		return processes{}, err
	}
	return parseProcesses(answer, time.Now())
}

// passing says whether an error is one that a master gives while it reloads.
func passing(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, errNoMaster) || errors.Is(err, errEnded)
}

// unreachable gives an error of the socket its hint.
func (m master) unreachable(err error) error {
	at := fmt.Errorf("ask haproxy's master at %s: %w", m.path, err)
	switch {
	case errors.Is(err, os.ErrPermission):
		return hint.Wrap(at, "let pgbaton's user write to the socket: start haproxy with -S %s,mode,660,group,GROUP", m.path)
	case errors.Is(err, context.DeadlineExceeded):
		return hint.Wrap(at, "haproxy does not answer: see whether it is stopped or overloaded")
	}
	return hint.Wrap(at, "start haproxy with -W -S %s, or correct master_socket", m.path)
}

// tidy makes one line of log lines.
func tidy(text string) string {
	return strings.Join(strings.Fields(text), " ")
}
