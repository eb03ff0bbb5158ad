package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/parhost/parhost/plugins/reduce"
	"github.com/parhost/parhost/plugins/sleep"
	"github.com/parhost/parhost/plugins/sqrt"
	"github.com/parhost/parhost/sdk"
)

// order is an item of the workload chaos: what to do, and with what.
type order struct {
	Do string `json:"do"`
	N  int    `json:"n,omitempty"`
	S  string `json:"s,omitempty"`
}

// released is closed by tests that have left items behind in their own process, so that these end.
var released atomic.Pointer[chan struct{}]

func init() { hold() }

func hold() {
	gate := make(chan struct{})
	released.Store(&gate)
}

var (
	half = sdk.Func("half", func(_ context.Context, x float64) (float64, error) {
		if x < 0 {
			return 0, fmt.Errorf("%v is negative", x)
		}
		return x / 2, nil
	})
	chaos      = sdk.Func("chaos", misbehave)
	exclusive  = sdk.Func("exclusive", misbehave).With(sdk.Manifest{NotConcurrent: true})
	idempotent = sdk.Func("idempotent", misbehave).With(sdk.Manifest{Idempotent: true})
	threaded   = sdk.Func("threaded", misbehave).With(sdk.Manifest{Threads: 4})
	alone      = sdk.Func("alone", overlap).With(sdk.Manifest{NotConcurrent: true, Threads: 4})
	crowd      = sdk.Func("crowd", overlap)
	stateful   = sdk.Struct("stateful", func() sdk.Runner[string, string] { return new(state) })
	talkative  = sdk.Struct("talkative", func() sdk.Runner[string, string] { return talker{} })
	// burnMany uses 30 ms of CPU time for each item.
	burnMany = sdk.Batch("burnMany", func(_ context.Context, xs []int) ([]int, error) {
		for begun := time.Now(); time.Since(begun) < time.Duration(len(xs))*30*time.Millisecond; {
		}
		return xs, nil
	})
	squares = sdk.Batch("squares", func(ctx context.Context, xs []float64) ([]float64, error) {
		outs := make([]float64, len(xs))
		errs := map[int]error{}
		for i, x := range xs {
			if outs[i] = x * x; x < 0 {
				errs[i] = fmt.Errorf("%v is negative", x)
			}
			if x == 13 {
				<-ctx.Done()
			}
		}
		if len(errs) > 0 {
			return outs, &sdk.BatchError{Errs: errs}
		}
		return outs, nil
	})
	echoString = sdk.Func("echo-string", echo[string])
	echoBytes  = sdk.Func("echo-bytes", echo[[]byte])
	echoFloats = sdk.Func("echo-floats", echo[[]float64])
	total      = sdk.Func("total", sum)
	echoInt    = sdk.Func("echo-int", echo[int])
	echoOrder  = sdk.Func("echo-order", echo[order])
	echoJSON   = sdk.Func("echo-json", echo[json.RawMessage])
	echoProto  = sdk.Func("echo-proto", echo[*structpb.Value])
	echoAny    = sdk.Func("echo-any", echo[any])
	workloads  = []sdk.AnyWorkload{burnMany, reduce.Workload, sleep.Workload, sqrt.Workload, half, chaos, exclusive, idempotent, threaded, alone, crowd, stateful, squares, echoString, echoBytes, echoFloats, total, echoInt, echoOrder, echoJSON, echoProto, echoAny, dice, batchOfDice, talkative}
	running    atomic.Int32 // items of overlap under way in this process
)

func sum(_ context.Context, xs []float64) (float64, error) {
	all := 0.0
	for _, x := range xs {
		all += x
	}
	return all, nil
}

func echo[T any](_ context.Context, v T) (T, error) { return v, nil }

// misbehave does what it is told, however bad.
func misbehave(ctx context.Context, o order) (string, error) {
	switch o.Do {
	case "echo":
		return o.S, nil
	case "fail":
		return "", errors.New(o.S)
	case "bad":
		return "", sdk.BadItem(errors.New(o.S))
	case "late once": // beyond its limit the first time, as a file in the folder S knows, and ends with its context
		name := filepath.Join(o.S, strconv.Itoa(o.N))
		if _, err := os.Stat(name); err == nil {
			return "", nil
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return "", err
		}
		<-ctx.Done()
		return "", ctx.Err()
	case "panic":
		panic(o.S)
	case "goexit":
		runtime.Goexit()
	case "exit":
		fmt.Fprintln(os.Stderr, o.S)
		os.Exit(o.N)
	case "panic elsewhere": // on a goroutine that nobody guards
		go func() {
			nowhere := map[bool]map[string]int{}[true]
			nowhere[o.S] = o.N // a map that is nil
		}()
		select {}
	case "throw": // what no recover catches
		new(sync.Mutex).Unlock()
	case "ignore": // whatever signal can be ignored
		signal.Ignore()
		select {}
	case "segfault":
		var address uintptr = min(1<<40, math.MaxInt) &^ 4095 // not nil, which would be a panic
		return fmt.Sprint(**(**int)(unsafe.Pointer(&address))), nil
	case "overflow":
		debug.SetMaxStack(1 << 20)
		return fmt.Sprint(overflow(1)), nil
	case "hoard": // until somebody ends it
		var hoard [][]byte
		for {
			hoard = append(hoard, bytes.Repeat([]byte{byte(len(hoard))}, 8<<20))
		}
	case "leave": // its cgroups, and waits to be ended
		for _, procs := range []string{"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/pids/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"} {
			_ = os.WriteFile(procs, []byte("0"), 0) // some of them are there
		}
		<-ctx.Done()
		return "", ctx.Err()
	case "once": // dies the first time, by the file that it leaves
		if _, err := os.Stat(o.S); err == nil {
			return "again", nil
		}
		if err := os.WriteFile(o.S, nil, 0o600); err != nil {
			return "", err
		}
		os.Exit(3)
	case "hold once": // the first time, by the file that it leaves
		if _, err := os.Stat(o.S); err == nil {
			return "again", nil
		}
		touch(o.S)
		<-ctx.Done()
	case "sleep":
		select {
		case <-time.After(time.Duration(o.N) * time.Millisecond):
			return "slept", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	case "burn": // CPU time, and looks at its context
		for begun := time.Now(); time.Since(begun) < time.Duration(o.N)*time.Millisecond && ctx.Err() == nil; {
		}
		return "burnt", ctx.Err()
	case "stubborn": // looks at no context
		touch(o.S)
		<-*released.Load()
	case "spin":
		touch(o.S)
		for gate := *released.Load(); !isClosed(gate); {
		}
	case "hold": // says that it has begun, and ends when it is told to
		touch(o.S)
		<-ctx.Done()
		return "", context.Cause(ctx)
	case "await": // says that it has begun, and ends when a file is gone
		touch(o.S)
		for ctx.Err() == nil {
			if _, err := os.Stat(o.S); errors.Is(err, os.ErrNotExist) {
				return "done", nil
			}
			time.Sleep(2 * time.Millisecond) // a file is no event
		}
		return "", ctx.Err()
	case "print":
		n, err := io.WriteString(os.Stdout, strings.Repeat("noise on stdout\n", o.N/16))
		return strconv.Itoa(n), err
	case "flood":
		n, err := io.WriteString(os.Stderr, strings.Repeat("x", o.N))
		return strconv.Itoa(n), err
	case "pour": // without end
		return "", pour(os.Stderr, strings.Repeat("x", 1000)+"\n")
	case "pour out": // past os.Stdout, as a C library would
		return "", pour(os.NewFile(1, "stdout"), strings.Repeat("x", 1000)+"\n")
	case "babble":
		return "", pour(os.Stderr, "y\n")
	case "huge":
		return strings.Repeat("x", o.N), nil
	case "pid":
		return strconv.Itoa(os.Getpid()), nil
	case "env":
		return os.Getenv(o.S), nil
	case "environ":
		return strings.Join(os.Environ(), "\n"), nil
	case "dir":
		return os.Getwd()
	case "stdin":
		b, err := io.ReadAll(os.Stdin)
		return string(b), err
	case "log":
		sdk.Logger(ctx).Warn("from the workload", "said", o.S)
		return "", nil
	case "progress":
		for i := range 4 {
			sdk.Progress(ctx, float64(i)/4)
		}
		return "", nil
	case "child": // leaves a process behind that holds stderr
		exe, err := self()
		if err != nil {
			return "", err
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), daemonEnv+"=sleep")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if o.S == "session" {
			cmd.SysProcAttr = newSession()
		}
		if err := cmd.Start(); err != nil {
			return "", err
		}
		return strconv.Itoa(cmd.Process.Pid), nil
	default:
		if do, ok := systemOrders[o.Do]; ok {
			return do(o)
		}
		return "", fmt.Errorf("unheard of: %q", o.Do)
	}
	return "", nil
}

// systemOrders are those that not every system knows.
var systemOrders = map[string]func(o order) (string, error){}

// pour writes lines until that is no longer possible.
func pour(to io.Writer, line string) error {
	for lines := strings.Repeat(line, 1<<15/len(line)); ; {
		if _, err := io.WriteString(to, lines); err != nil {
			return err
		}
	}
}

func touch(path string) {
	if path != "" {
		_ = os.WriteFile(path, nil, 0o600)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func overflow(n int) int {
	if n < 0 {
		return 0
	}
	return n + overflow(n+1)
}

// overlap fails if another item runs in this process at the same time.
func overlap(_ context.Context, _ int) (bool, error) {
	defer running.Add(-1)
	n := running.Add(1)
	for range 200 {
		runtime.Gosched()
		n = max(n, running.Load())
	}
	return n > 1, nil
}

// state is a workload that writes down its life: its item is a path, to which it appends.
type state struct {
	items int
	log   string
}

func (s *state) Setup(ctx context.Context) error {
	s.log = os.Getenv("STATE_LOG")
	switch how := os.Getenv("STATE_SETUP"); how {
	case "hoard", "threads":
		_, err := misbehave(ctx, order{Do: how})
		return err
	case "fail":
		return errors.New("no model")
	case "panic":
		panic("no model at all")
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot live like this")
		os.Exit(9)
	case "await": // says who it is, and waits for a file
		return s.await("set-up")
	case "second hangs": // the first worker lives, later ones are never ready
		f, err := os.OpenFile(s.log+".first", os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return f.Close()
		}
		touch(s.log + ".later")
		<-ctx.Done()
		return ctx.Err()
	case "second": // the first worker lives, later ones do not
		f, err := os.OpenFile(s.log+".first", os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return errors.New("only the first one starts")
		}
		return f.Close()
	}
	return s.write("set up")
}

// await writes the process's number into a file, and returns when there is another.
func (s *state) await(what string) error {
	path := s.log + "." + what
	if err := errors.Join(os.WriteFile(path+".new", []byte(strconv.Itoa(os.Getpid())), 0o600), os.Rename(path+".new", path)); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(path + ".go"); err == nil {
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (s *state) write(line string) error {
	if s.log == "" {
		return nil
	}
	f, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

func (s *state) Run(_ context.Context, item string) (string, error) {
	if item == "exit" {
		os.Exit(1)
	}
	if item == "panic" {
		panic("as told")
	}
	s.items++
	return fmt.Sprintf("%s, the %dth", item, s.items), nil
}

func (s *state) Teardown(context.Context) error {
	switch os.Getenv("STATE_TEARDOWN") {
	case "hang":
		<-*released.Load()
	case "await":
		if err := s.await("tear-down"); err != nil {
			return err
		}
	}
	return s.write("torn down")
}

// talker is a workload that writes many lines in its set-up and one line for each item. Its items run until they are cancelled.
type talker struct{}

func (talker) Setup(context.Context) error {
	_, err := fmt.Fprintf(os.Stderr, "first\nsecond\n%sand the last is not ended", strings.Repeat(strings.Repeat("x", 999)+"\n", 80))
	return err
}

func (talker) Run(ctx context.Context, what string) (string, error) {
	fmt.Fprintf(os.Stderr, "\n%s\n", what)
	sdk.Progress(ctx, 0.5)
	<-ctx.Done()
	return "", ctx.Err()
}
