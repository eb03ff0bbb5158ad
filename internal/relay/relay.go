// Package relay carries how a function of the user's ended that did not return to another goroutine.
package relay

import (
	"errors"
	"runtime"
)

// BrokenError is how a function ended that panicked with Value, or called runtime.Goexit if Value is nil. It is an error for the way to the caller's
// goroutine, and no caller sees it.
type BrokenError struct{ Value any }

func (*BrokenError) Error() string { return "a function of the caller's did not return" }

// Raise does in this goroutine what err says a function did in another one, as the iterators of package iter do. It returns if err says nothing
// of the kind.
func Raise(err error) {
	broken, ok := errors.AsType[*BrokenError](err)
	switch {
	case !ok:
	case broken.Value != nil:
		panic(broken.Value)
	default:
		runtime.Goexit()
	}
}
