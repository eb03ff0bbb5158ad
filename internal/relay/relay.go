// Package relay carries a panic or runtime.Goexit of a caller's function to another goroutine.
package relay

import (
	"errors"
	"runtime"
)

// BrokenError says that a function panicked with Value, or called runtime.Goexit if Value is nil. It is an error only on its way to the caller's
// goroutine: no caller sees it.
type BrokenError struct{ Value any }

func (*BrokenError) Error() string { return "a function of the caller's did not return" }

// Raise repeats in this goroutine the panic or Goexit that err says a function made in another one, as the iterators of package iter do. It returns
// if err contains no [*BrokenError].
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
