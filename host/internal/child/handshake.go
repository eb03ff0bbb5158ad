package child

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkLine checks a handshake line for fields that go-plugin would misread. On a unix socket the field for a certificate must be empty: go-plugin has not been
// told of TLS, so a certificate makes it panic. go-plugin reads a seventh field, which says whether the worker's broker shares one connection, only if the host
// has asked for that.
func checkLine(line string) error {
	const certificate = 5
	if fields := strings.Split(line, "|"); !UsesTCP && len(fields) > certificate && fields[certificate] != "" {
		return fmt.Errorf("the line has a certificate of %d bytes, want none: there is no TLS on unix sockets", len(fields[certificate]))
	}
	return nil
}

// HandshakeError explains cause, which is go-plugin's error about the first line on stdout. start is the context of the start, and limit is how long the
// start may take.
func (p *Process) HandshakeError(start context.Context, limit time.Duration, cause error) error {
	p.AwaitEnd(EndTime) // a program that is not a plugin is about to end
	var line string
	select {
	case line = <-p.first: // empty if stdout was closed without a line
	case <-start.Done():
		select {
		case line = <-p.first:
		default:
		}
	case <-time.After(10 * EndTime):
	}
	if line == "" && start.Err() == nil {
		p.AwaitEnd(10 * EndTime) // the process has closed stdout, so it is probably about to end
	}
	if line == "" && start.Err() != nil {
		return fmt.Errorf("no handshake line on stdout after %v (Config.StartTimeout)", limit)
	}
	if refused := checkLine(line); refused != nil {
		cause = refused
	}
	message, _, _ := p.LastState()
	switch {
	case strings.Count(line, "|") >= 3:
		return fmt.Errorf("%.200q: %w", line, errors.New(strings.Join(strings.Fields(cause.Error()), " ")))
	case line != "":
		return fmt.Errorf("stdout says %.200q, which is no handshake; is it a parhost plugin?", line)
	case len(p.output.lines(EndTime)) > 0: // the process has given a reason on stderr, which the error of the start quotes
		return fmt.Errorf("%s before it wrote a handshake line", message)
	default:
		return fmt.Errorf("%s before it wrote a handshake line; is it a parhost plugin?", message)
	}
}
