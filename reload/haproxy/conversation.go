package haproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// errEnded tells of an answer that has no end: a reload closed the connection, or
// the worker is gone.
var errEnded = errors.New("the connection ended before the answer did")

// conversation is a connection to the master for many commands, most of them to
// one of its workers. A reload ends it.
type conversation struct {
	conn  net.Conn
	lines *bufio.Reader
	to    string // "@!PID ", or empty for the master
	stop  func() bool
	ctx   context.Context // it is over when this is
}

// talk opens a conversation with a worker. The caller closes it. A reload closes
// the master's socket for a moment, which is waited out.
func (m master) talk(ctx context.Context, worker int) (*conversation, error) {
	var conn net.Conn
	for giveUp := time.Now().Add(reloading); ; {
		var err error
		if conn, err = (&net.Dialer{}).DialContext(ctx, "unix", m.path); err == nil {
			break
		}
		if !passing(err) || time.Now().After(giveUp) || !pause(ctx) {
			return nil, err
		}
	}
	return &conversation{
		conn: conn, lines: bufio.NewReaderSize(conn, 64<<10), to: fmt.Sprintf("@!%d ", worker), ctx: ctx,
		stop: context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }),
	}, nil
}

func (c *conversation) Close() {
	c.stop()
	_ = c.conn.Close()
}

// each sends a command and hands over the lines of its answer, which ends with
// an empty one.
func (c *conversation) each(command string, line func(string)) error {
	if _, err := fmt.Fprintf(c.conn, "%s%s\n", c.to, command); err != nil {
		return because(c.ctx, err)
	}
	for {
		text, err := c.lines.ReadString('\n')
		if text == "\n" {
			return nil
		}
		if text != "" {
			line(strings.TrimSuffix(text, "\n"))
		}
		if errors.Is(err, io.EOF) {
			return errEnded
		}
		if err != nil {
			return because(c.ctx, err)
		}
	}
}

// ask sends a command and returns its whole answer.
func (c *conversation) ask(command string) (string, error) {
	var answer strings.Builder
	err := c.each(command, func(line string) { answer.WriteString(line + "\n") })
	if err != nil && answer.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, tidy(answer.String()))
	}
	return answer.String(), err
}

// servers asks the worker for its servers.
func (c *conversation) servers() (map[string]liveServer, error) {
	answer, err := c.ask("show servers state")
	if err != nil {
		return nil, err
	}
	return parseServers(answer)
}
