// Command rude is a plugin that sends its host a thousand GOAWAY frames ("too many pings") and exits.
package main

import (
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/net/http2"
)

func main() {
	if err := run(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	l, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s"))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(os.Stdout, "1|1|unix|%s|grpc|\n", l.Addr()); err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err
		}
		if _, called := frame.(*http2.HeadersFrame); called {
			break
		}
	}
	for range 1000 {
		if err := f.WriteGoAway(math.MaxInt32, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings")); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, c) // until the host has read everything
	return err
}
