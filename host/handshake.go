package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// checkLine checks what go-plugin would make something of that is of no use here. A worker on a unix socket has no certificate: the field
// for one is empty, and go-plugin, which has not been told of TLS, would look for a place to put it and panic. A seventh field says whether the
// worker's broker shares one connection; go-plugin looks at it only if the host has asked for that.
func checkLine(line string) error {
	const certificate = 5
	if fields := strings.Split(line, "|"); !usesTCP && len(fields) > certificate && fields[certificate] != "" {
		return fmt.Errorf("the line has a certificate of %d bytes, want none: there is no TLS on unix sockets", len(fields[certificate]))
	}
	return nil
}

// guarded makes an error of a panic in go-plugin, which takes apart what a plugin says: the host must not die of that.
func guarded[T any](call func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("go-plugin panicked: %v", p)
		}
	}()
	return call()
}

// handshakeError says in people's words what go-plugin found wrong with the first line on stdout.
func (l *launcher) handshakeError(start context.Context, c *child, cause error) error {
	c.awaitEnd(endTime) // a program that is no plugin is on its way out
	var line string
	select {
	case line = <-c.first: // empty if stdout was closed without one
	case <-start.Done():
		select {
		case line = <-c.first:
		default:
		}
	case <-time.After(10 * endTime):
	}
	if line == "" && start.Err() == nil {
		c.awaitEnd(10 * endTime) // it has closed stdout, so that it mostly is
	}
	if line == "" && start.Err() != nil {
		return fmt.Errorf("no handshake line on stdout after %v (Config.StartTimeout)", l.cfg.StartTimeout)
	}
	if refused := checkLine(line); refused != nil {
		cause = refused
	}
	words, _, _ := c.lastState()
	switch {
	case strings.Count(line, "|") >= 3:
		return fmt.Errorf("%.200q: %w", line, errors.New(strings.Join(strings.Fields(cause.Error()), " ")))
	case line != "":
		return fmt.Errorf("stdout says %.200q, which is no handshake; is it a parhost plugin?", line)
	case len(c.output.lines(endTime)) > 0: // it has said why, which StartError quotes
		return fmt.Errorf("%s before it wrote a handshake line", words)
	default:
		return fmt.Errorf("%s before it wrote a handshake line; is it a parhost plugin?", words)
	}
}
