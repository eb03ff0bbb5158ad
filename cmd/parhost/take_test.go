package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parhost/parhost/sdk"
)

// testWorkloads holds a workload for each pair of number types, one whose results JSON cannot represent, one with another number type, and one with a
// teardown.
var testWorkloads = []sdk.AnyWorkload{
	sdk.Func("half", func(_ context.Context, x float64) (float64, error) { return x / 2, nil }),
	sdk.Func("floor", func(_ context.Context, x float64) (int64, error) { return int64(math.Floor(x)), nil }),
	sdk.Func("third", func(_ context.Context, n int64) (float64, error) { return float64(n) / 3, nil }),
	sdk.Func("negative", func(_ context.Context, n int64) (int64, error) { return -n, nil }),
	sdk.Func("inverse", func(_ context.Context, x float64) (float64, error) { return 1 / x, nil }),
	sdk.Struct("leaving", func() sdk.Runner[float64, float64] { return leaving{} }),
	sdk.Func("byte", func(_ context.Context, n uint8) (uint8, error) { return n / 2, nil }),
	sdk.Func("rude", talk).With(sdk.Manifest{Description: rude, Version: rude, Examples: []any{rudeExample}, ItemSchema: json.RawMessage(rudeSchema), ResultSchema: json.RawMessage(rudeSchema)}),
	sdk.Func("endless", talk).With(sdk.Manifest{Examples: []any{"a"}, ItemSchema: json.RawMessage(`{"$ref":"#"}`), ResultSchema: json.RawMessage(`{"$ref":"#"}`)}),
	sdk.Func("deep", talk).With(sdk.Manifest{ItemSchema: json.RawMessage(deepSchema(50)), ResultSchema: json.RawMessage(deepSchema(20))}),
	sdk.Func("partway", func(ctx context.Context, seconds float64) (float64, error) {
		sdk.Progress(ctx, 0.42)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return seconds, nil
	}),
	sdk.Struct("slow-setup", func() sdk.Runner[float64, float64] { return badSetup{nil} }),
	sdk.Struct("broken-setup", func() sdk.Runner[float64, float64] { return badSetup{errors.New("no model")} }),
	sdk.Func("echo", func(_ context.Context, text json.RawMessage) (json.RawMessage, error) { return text, nil }),
	sdk.Func("fickle", func(context.Context, float64) (float64, error) { return rand.Float64(), nil }),
	sdk.Struct("needy", func() sdk.Runner[float64, float64] { return needy{} }).With(sdk.Manifest{Needs: sdk.Needs{Read: []string{needyFile}}}),
}

// leaving is a workload that leaves a trace when it is torn down.
type leaving struct{}

func (leaving) Run(_ context.Context, x float64) (float64, error) { return x, nil }

func (leaving) Teardown(context.Context) error {
	return os.WriteFile(os.Getenv("LEAVING"), []byte("torn down"), 0o600)
}

func TestWorkloadsAreTornDownAfterTheLastItem(t *testing.T) {
	for _, mode := range []string{"process", "goroutine"} {
		path := filepath.Join(t.TempDir(), "word")
		t.Setenv("LEAVING", path)
		args := []string{"-p", "leaving", "--mode", mode, "1"}
		if mode == "process" {
			args = append(args, "--env", "LEAVING")
		}
		if code, _, stderr := call(t, strings.NewReader(""), args...); code != exitOK {
			t.Fatalf("got exit code %d, want %d; stderr:\n%s", code, exitOK, stderr)
		}
		if got, err := os.ReadFile(path); string(got) != "torn down" {
			t.Errorf("mode %s: got %q, %v, want the teardown's word", mode, got, err)
		}
	}
}

// newJoblog returns the path of a journal that does not exist yet.
func newJoblog(t *testing.T) string { return filepath.Join(t.TempDir(), "joblog") }

func TestNumbersOfEachKindComeOutAsTheyShould(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"half":     {"1 -0 1e300 0.1 9007199254740993", "0.5 -0 5e+299 0.05 4503599627370496"},
		"floor":    {"1.5 -0.5 7", "1 -1 7"},
		"third":    {"1 -6 9223372036854775807", "0.3333333333333333 -2 3074457345618258400"},
		"negative": {"9223372036854775807 0 -5", "-9223372036854775807 0 5"},
		"byte":     {"255 0", "127 0"},
	} {
		for _, mode := range []string{"process", "goroutine", "sequential", "joblog"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				args := []string{"--mode", mode, "-p", name, "-i", "-", "-o", "values"}
				if mode == "joblog" {
					args = append(args[2:], "--joblog", newJoblog(t))
				}
				code, stdout, stderr := call(t, strings.NewReader(strings.ReplaceAll(c.in, " ", "\n")), args...)
				if got := strings.Join(strings.Fields(stdout), " "); code != exitOK || got != c.want {
					t.Errorf("got exit code %d and %s, want %d and %s; stderr:\n%s", code, got, exitOK, c.want, stderr)
				}
			})
		}
	}
}

func TestAResultThatIsNoNumberFailsWhateverIsShown(t *testing.T) {
	for _, output := range []string{"values", "jsonl", "none"} {
		for _, args := range [][]string{{"--mode", "process"}, {"--mode", "goroutine"}, {"--joblog", newJoblog(t)}} {
			code, stdout, stderr := call(t, strings.NewReader("4\n0\n2\n"), append(args, "-p", "inverse", "-i", "-", "-o", output)...)
			if code != exitFailed || !strings.Contains(stderr, "3 items · 2 ok · 1 failed") {
				t.Errorf("-o %s, %s: got exit code %d and %q, want %d and one failure", output, args, code, stderr, exitFailed)
			}
			const says = "+Inf has no JSON form"
			if shown := stdout + stderr; output != "none" && !strings.Contains(shown, says) {
				t.Errorf("-o %s, %s: got %q, want %q in it", output, args, shown, says)
			}
		}
	}
}

// Items travel as numbers up to the first one that is not a number. The output must not show where that was.
func TestItemsThatAreNoNumbersKeepTheirPlaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, first := range []int{0, 1, 37, 5000} { // number of lines before the first line that is not a number
		var in, want bytes.Buffer
		index := 0
		for line := range first + 1000 {
			switch kind := rng.IntN(10); {
			case kind == 0:
				in.WriteString(" \n")
				continue
			case line >= first && (kind == 1 || line == first):
				in.WriteString("{\"a\n")
				fmt.Fprintf(&want, "%d bad line %d\n", index, line+1)
			default:
				x := rng.IntN(1_000_000)
				fmt.Fprintf(&in, "%d\r\n", x)
				fmt.Fprintf(&want, "%d %s\n", index, strconv.FormatFloat(math.Sqrt(float64(x)), 'f', -1, 64))
			}
			index++
		}
		for _, args := range [][]string{
			{"--mode", "process"},
			{"--mode", "goroutine"},
			{"--mode", "goroutine", "--unordered"},
			{"--joblog", newJoblog(t)},
			{"--unordered", "--joblog", newJoblog(t)},
		} {
			code, stdout, stderr := call(t, bytes.NewReader(in.Bytes()), append(args, "-p", "sqrt", "-i", "-", "-o", "jsonl")...)
			if code != exitFailed {
				t.Fatalf("%v: got exit code %d, want %d; stderr:\n%s", args, code, exitFailed, stderr)
			}
			got := make([]string, index)
			for at, text := range strings.Split(strings.TrimSpace(stdout), "\n") {
				var record struct {
					Index int
					Value json.RawMessage
					Error struct{ Kind, Message string }
				}
				if err := json.Unmarshal([]byte(text), &record); err != nil {
					t.Fatal(err)
				}
				if record.Index != at && !slices.Contains(args, "--unordered") {
					t.Fatalf("%v: got item %d at place %d", args, record.Index, at)
				}
				got[record.Index] = fmt.Sprintf("%d %s\n", record.Index, record.Value)
				if record.Error.Kind != "" {
					place, _, _ := strings.Cut(record.Error.Message, ",")
					got[record.Index] = fmt.Sprintf("%d %s %s\n", record.Index, strings.TrimSuffix(record.Error.Kind, "_item"), place)
				}
			}
			if text := strings.Join(got, ""); text != want.String() {
				t.Errorf("%v, first bad line %d: got\n%.300s\nwant\n%.300s", args, first+1, text, want.String())
			}
		}
	}
}

// digits is a reader of n numbers, one per line.
type digits struct {
	n, at int
	rest  []byte
}

func (d *digits) Read(p []byte) (int, error) {
	for len(d.rest) < len(p) && d.at < d.n {
		d.rest = append(strconv.AppendInt(d.rest, int64(d.at%1_000_000), 10), '\n')
		d.at++
	}
	if len(d.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.rest)
	d.rest = d.rest[:copy(d.rest, d.rest[n:])]
	return n, nil
}

// From stdin to stdout no number has an allocation of its own; only blocks of numbers are allocated. The test does not see allocations in worker
// processes, but goroutines do the same work.
func TestNumbersAllocateNothingOneByOne(t *testing.T) {
	const few, many = 20_000, 100_000
	for _, mode := range []string{"process", "goroutine"} {
		for _, output := range []string{"values", "jsonl", "none", "table"} {
			allocated := func(n int) uint64 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				args := []string{"-p", "sqrt", "--procs", "2", "--mode", mode, "-i", "-", "-o", output, "--progress", "none"}
				if code := run(context.Background(), args, &digits{n: n}, io.Discard, io.Discard); code != exitOK {
					t.Fatalf("%s: got exit code %d, want %d", mode, code, exitOK)
				}
				runtime.ReadMemStats(&after)
				return after.Mallocs - before.Mallocs
			}
			allocated(few) // one-time allocations
			less, more := allocated(few), allocated(many)
			each := (float64(more) - float64(less)) / (many - few)
			t.Logf("mode %s, output %s: %.5f allocations an item", mode, output, each)
			if each > 0.5 {
				t.Errorf("mode %s, output %s: got %d allocations for %d items and %d for %d, want far less than one for each item", mode, output, less, few, more, many)
			}
		}
	}
}

// badSetup is a workload whose set-up fails with err or, if err is nil, never ends.
type badSetup struct{ err error }

func (b badSetup) Setup(ctx context.Context) error {
	if b.err != nil {
		return b.err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (badSetup) Run(_ context.Context, x float64) (float64, error) { return x, nil }
