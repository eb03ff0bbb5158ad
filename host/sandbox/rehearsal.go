//go:build linux || darwin || windows

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// rehearsalTime is how long a rehearsal may take, on a machine that swaps.
const rehearsalTime = 20 * time.Second

// rehearsals are made once in the life of a process, each by itself: of each play the function that makes it.
var rehearsals sync.Map

// rehearsed returns what became of a process that was really started so.
func rehearsed(ctx context.Context, p play) error {
	if p.level == Off {
		return nil
	}
	made, _ := rehearsals.LoadOrStore(p, sync.OnceValue(func() error { return rehearse(p) }))
	done := make(chan error, 1)
	go func() { done <- made.(func() error)() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Best returns the best level that [Open] gives to a policy here, whatever the policy's own level is. A process has really been started at
// it.
func Best(ctx context.Context, policy Policy) (Level, error) {
	for _, level := range []Level{Strict, Basic} {
		policy.Level = level
		err := possible(&policy)
		if err == nil {
			err = rehearsed(ctx, playOf(&policy))
		}
		if err == nil {
			return level, nil
		}
		if !errors.Is(err, ErrNotSupported) {
			return Off, err
		}
	}
	return Off, nil
}

// addLevels adds what became of a process at each level.
func (r *Report) addLevels(ctx context.Context) error {
	for _, level := range []Level{Basic, Strict} {
		l := Layer{Name: "level " + level.String(), OK: true, Fact: "a process was started at it"}
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
