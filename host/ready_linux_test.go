package host_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
)

// listener is a logger that calls a function with each line and its fields.
type listener struct {
	hclog.Logger
	hear func(line string, fields []any)
}

func (l *listener) Named(string) hclog.Logger                { return l }
func (l *listener) With(...any) hclog.Logger                 { return l }
func (l *listener) IsInfo() bool                             { return true }
func (l *listener) Info(line string, fields ...any)          { l.hear(line, fields) }
func (l *listener) Log(_ hclog.Level, s string, args ...any) { l.hear(s, args) }

// The host may read a line of the set-up while the first item already runs. The line must not be attributed to that item.
func TestALineBeforeAWorkerIsReadyIsOfNoItem(t *testing.T) {
	atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
		runs, heard := make(chan struct{}), make(chan struct{})
		begin := sync.OnceFunc(func() { close(runs) })
		var lines int
		logger := &listener{hclog.NewNullLogger(), func(line string, fields []any) {
			switch line {
			case "first": // nothing else is read until an item runs
				lines = 0 // what a race detector says before it is not counted
				select {
				case <-runs:
				case <-time.After(time.Minute):
					t.Error("no item runs after a minute")
				}
			case "mine":
				if !slices.Equal(fields, []any{"item", 0}) {
					t.Errorf("the item's line: got the fields %v, want item 0", fields)
				}
				close(heard)
				return
			}
			lines++
			if len(fields) > 0 {
				t.Errorf("line %d, %.30q, was written before the worker was ready: got the fields %v, want none", lines, line, fields)
			}
		}}
		p := open(t, host.Config{Workload: talkative, Workers: 1, Sandbox: policy, Logger: logger, Observer: observerFunc(func(e host.Event) {
			if _, ok := e.(host.ItemProgress); ok {
				begin()
			}
		})})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			select {
			case <-heard:
			case <-time.After(2 * time.Minute):
				t.Error("the item's line has not been read after two minutes")
			}
			cancel()
		}()
		if _, err := value(typed[string, string](p).Do(ctx, "mine")); !errors.Is(err, context.Canceled) {
			t.Errorf("Do: got %v, want that it was canceled", err)
		}
		p.Close()
		if want := 83; lines != want {
			t.Errorf("lines before the item's: got %d, want %d", lines, want)
		}
	})
}
