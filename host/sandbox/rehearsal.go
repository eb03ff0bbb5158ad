//go:build linux || darwin || windows

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// rehearsalTime limits a rehearsal. It is long enough for a machine that swaps.
const rehearsalTime = 20 * time.Second

// rehearsals maps each play to its rehearsal, which is a test process that shows whether the play works on this machine. A play is rehearsed once in
// the life of a process, but again if the rehearsal failed for a reason that may be temporary.
var rehearsals sync.Map

type rehearsal struct {
	done chan struct{} // closed when err is set
	err  error
}

// rehearsed starts a process for a play, or uses an earlier result, and returns the error. If ctx ends, the rehearsal goes on within rehearsalTime,
// because other callers wait for its result or will ask for it.
func rehearsed(ctx context.Context, p play) error {
	if p.level == Off {
		return nil
	}
	found, there := rehearsals.LoadOrStore(p, &rehearsal{done: make(chan struct{})})
	r := found.(*rehearsal)
	if !there {
		go func() {
			defer close(r.done)
			if r.err = rehearse(p); r.err != nil && !errors.Is(r.err, ErrNotSupported) {
				rehearsals.Delete(p)
			}
		}()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Best returns the best level at which this machine can start workers with a policy. It ignores the level that the policy itself names. On Linux, Best
// starts a process at that level with the policy's limits, files and folder of sockets. It returns [Off] if the machine supports no level. If the machine
// supports a level and this policy cannot have it, the error says which part of the policy is the reason.
func Best(ctx context.Context, policy Policy) (Level, error) {
	var refused error
	for _, level := range []Level{Strict, Basic} {
		policy.Level = level
		refusal := possible(&policy)
		p := playOf(&policy)
		if refusal != nil {
			p = play{level: level}
		}
		err := rehearsed(ctx, p)
		if err == nil && refusal == nil && !reflect.DeepEqual(policy, Policy{Level: level}) {
			refusal = tryPolicy(ctx, policy)
		}
		switch {
		case ctx.Err() != nil:
			return Off, context.Cause(ctx)
		case errors.Is(err, ErrNotSupported):
		case err != nil:
			return Off, err
		case refusal == nil:
			return level, nil
		case refused == nil:
			refused = refusal
		}
	}
	return Off, refused
}

// addLevels adds to the report whether a process could be started at each level.
func (r *Report) addLevels(ctx context.Context) error {
	for _, level := range []Level{Basic, Strict} {
		l := Layer{Name: "level " + level.String(), OK: true, Fact: seen}
		switch err := rehearsed(ctx, play{level: level}); {
		case errors.Is(err, ErrNotSupported):
			l.OK, l.Fact = false, err.Error()
			if e, ok := errors.AsType[*StageError](err); ok {
				l.Fact, l.Hint = fmt.Sprintf("%s: %v", e.Stage, e.Err), e.Hint
			}
		case err != nil:
			return err
		default:
			r.Best = level
		}
		r.Levels = append(r.Levels, l)
	}
	return nil
}

func okOr(err error, fact string) string {
	if err != nil {
		return err.Error()
	}
	return fact
}
