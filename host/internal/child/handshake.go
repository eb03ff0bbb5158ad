package child

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkLine checks a handshake line for what go-plugin would misread. A worker on a unix socket has no certificate: the field for one is empty,
// and go-plugin, which has not been told of TLS, would look for a place to put it and panic. A seventh field says whether the worker's broker
// shares one connection; go-plugin reads it only if the host has asked for that.
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
	p.AwaitEnd(EndTime) // a program that is no plugin is about to end
	var line string
	select {
	case line = <-p.first: // empty if stdout was closed without one
	case <-start.Done():
		select {
		case line = <-p.first:
		default:
		}
	case <-time.After(10 * EndTime):
	}
	if line == "" && start.Err() == nil {
		p.AwaitEnd(10 * EndTime) // it has closed stdout, so it is mostly about to end
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
	case len(p.output.lines(EndTime)) > 0: // it has said why, which the error of the start quotes
		return fmt.Errorf("%s before it wrote a handshake line", message)
	default:
		return fmt.Errorf("%s before it wrote a handshake line; is it a parhost plugin?", message)
	}
}
