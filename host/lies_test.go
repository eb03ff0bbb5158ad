//go:build unix

package host_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
)

// Variables that tell a plugin of servers which are none of its own.
const (
	foreignTCP    = "FOREIGN_TCP"
	foreignSocket = "FOREIGN_SOCKET"
)

// lures are servers that no worker may send its host to: whoever calls one fails the test. It returns what workers are told of them.
func lures(t *testing.T) []string {
	t.Helper()
	var env []string
	var accepting sync.WaitGroup
	t.Cleanup(accepting.Wait)
	for key, at := range map[string]net.Addr{foreignTCP: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, foreignSocket: &net.UnixAddr{Net: "unix", Name: shortDir(t) + "/s"}} {
		l, err := net.Listen(at.Network(), at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		env = append(env, key+"="+l.Addr().String())
		accepting.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				t.Errorf("the host called %s", l.Addr())
				_ = c.Close()
			}
		})
	}
	return env
}

// startTimeout is what plugins get that never answer. Many of them start at once here, on machines that have other work.
const startTimeout = 3 * time.Second

func TestAPluginThatDoesNotStartSaysWhereAndWhy(t *testing.T) {
	foreign := lures(t)
	for name, c := range map[string]struct {
		stage, says, stderr string
		off                 string // what it says at level off, if that is something else
	}{
		"rubbish":          {stage: "handshake", says: `"Hello, I am a program.", which is no handshake`},
		"rubbish, ends":    {stage: "handshake", says: `"usage: program FILE", which is no handshake`},
		"binary":           {stage: "handshake"},
		"endless line":     {stage: "handshake", says: "which is no handshake"},
		"exits":            {stage: "handshake", says: "exit code 5 before it wrote a handshake line", stderr: "license expired"},
		"hangs":            {stage: "handshake", says: "after 3s (Config.StartTimeout)", stderr: "thinking"},
		"closes":           {stage: "handshake"},
		"version":          {stage: "handshake", says: "incompatible API version"},
		"core":             {stage: "handshake", says: "core API version"},
		"netrpc":           {stage: "handshake", says: `unsupported plugin protocol "netrpc"`},
		"tcp":              {stage: "handshake", says: "want a unix socket in"},
		"foreign":          {stage: "handshake", says: "want a unix socket in"},
		"symlink":          {stage: "handshake", says: "no such file", off: "no socket"}, // walls let it make none
		"file":             {stage: "handshake", says: "no socket"},
		"upwards":          {stage: "handshake", says: "want a unix socket in"},
		"missing":          {stage: "handshake", says: "no such file"},
		"certificate":      {stage: "handshake", says: "the line has a certificate of"},
		"deaf":             {stage: "describe", says: "not done after 3s (Config.StartTimeout)"},
		"no manifest":      {stage: "describe", says: "the name is empty"},
		"unknown kind":     {stage: "describe", says: `item kind "float640"`},
		"too many threads": {stage: "describe", says: "1073741824 threads"},
		"long kind":        {stage: "describe", says: "the item kind has 1000 bytes, the limit is 256"},
		"endless manifest": {stage: "describe", says: "larger than max"},
		"many examples":    {stage: "describe", says: "400000 examples, the limit is 1000"},
		"name of colors":   {stage: "describe", says: `name "x\x1b[2J"`},
		"deep schema":      {stage: "describe", says: "the item schema is 66 levels deep, the limit is 64"},
		"needs a terminal": {stage: "describe", says: `path "/\x1b[2J" has characters that cannot be shown`},
		"describe hangs":   {stage: "describe", says: "not done after 3s (Config.StartTimeout)"},
		"describe exits":   {stage: "describe", says: "exit code 6"},
		"not ready":        {stage: "set-up", says: "want Ready"},
		"never ready":      {stage: "set-up", says: "not done after 1s (Config.SetupTimeout)"},
		"no streams":       {stage: "set-up", says: "not done after 1s (Config.SetupTimeout)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of them wait
			atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Sandbox, cfg.SetupTimeout = policy, time.Second
				cfg.Env = append(cfg.Env, foreign...)
				switch {
				case strings.Contains(c.says, "StartTimeout"), name == "binary", name == "endless line", name == "closes":
					cfg.StartTimeout = startTimeout
				}
				says := c.says
				if policy.Level == sandbox.Off && c.off != "" {
					says = c.off
				}
				failsToStart(t, cfg, c.stage, says, c.stderr)
			})
		})
	}
}

// failsToStart opens a pool of a plugin that does not start, and wants to be told at which stage and why, in time, with nothing left of it.
func failsToStart(t *testing.T, cfg host.Config, stage, says, stderr string) {
	t.Helper()
	mark, env := newMark()
	cfg.Env = append(cfg.Env, env)
	within(t, "Open", 2*startTimeout, func() {
		p, err := host.Open(t.Context(), cfg)
		if err == nil {
			p.Close()
		}
		e, ok := errors.AsType[*host.StartError](err)
		if !ok || e.Stage != stage || e.Worker != 1 || e.Plugin != cfg.Plugin || !strings.Contains(e.Err.Error(), says) {
			t.Errorf("Open: got %v, want a StartError at stage %q with %q", err, stage, says)
			return
		}
		if len(e.Err.Error()) > 1000 {
			t.Errorf("the error is %d bytes long, want something that can be read", len(e.Err.Error()))
		}
		if !strings.Contains(strings.Join(e.Stderr, "\n"), stderr) {
			t.Errorf("the last lines: got %q, want %q", e.Stderr, stderr)
		}
	})
	checkGone(t, mark)
	if left, _ := os.ReadDir(cfg.TempDir); len(left) > 0 {
		t.Errorf("in TempDir: got %v, want nothing", left)
	}
}

// Describe asks twice, and has the time of one start for both.
func TestDescribeTakesNoLongerThanAStart(t *testing.T) {
	cfg := fake(t, "describes slowly") // each time two thirds of the limit
	cfg.StartTimeout = time.Second
	_, err := host.Describe(t.Context(), cfg)
	const says = "not done after 1s (Config.StartTimeout)"
	if e, ok := errors.AsType[*host.StartError](err); !ok || e.Stage != "describe" || e.Err.Error() != says {
		t.Errorf("Describe: got %v, want a StartError at stage describe with %q", err, says)
	}
}

// Whoever opens a pool need not wait for a worker that lets no stream begin.
func TestAStreamThatDoesNotBeginHoldsUpNobody(t *testing.T) {
	cfg := fake(t, "no streams")
	cfg.SetupTimeout = 0 // five minutes
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	within(t, "Open for a second", 4*time.Second, func() {
		if _, err := host.Open(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open: got %v, want a deadline error", err)
		}
	})
}

// A worker that lies is killed, its items are blamed, and the run comes to its end.
func TestALieCostsTheWorkerAndIsBlamedOnItsItems(t *testing.T) {
	for name, says := range map[string]string{
		"too many results":      "results for items 0 to",
		"foreign batch":         "which it does not hold",
		"a gap":                 "results from item 1 on, want item 0",
		"room that is none":     "of a room of 0",
		"short column":          "column of",
		"no column":             "column of",
		"long column":           "bytes behind the last value",
		"no JSON":               "does not decode",
		"no UTF-8":              "does not decode",
		"too many times":        "times for",
		"errors out of order":   "an error for item 0",
		"an error out of place": "an error for item",
		"many errors":           "100000 errors in one message, the limit is 65536",
		"huge counts":           "results from item 4294967295 on",
		"huge count":            "results for items 0 to 4294967294",
		"nothing done":          "results for no item",
		"endless nothing":       "results for no item",
		"ready twice":           "a message of kind",
		"empty answer":          "a message of kind",
		"hangs up":              "closed its stream",
		"too much":              "broke the protocol: a message that is too large: it is 3",
		"says it was too much":  "closed its stream",
	} {
		for way, inline := range map[string]bool{"link": false, "stream": true} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				levels, says := allLevels, says
				if inline {
					levels = levels[:1] // through walls it comes as Describe does
					if name == "too much" {
						says = "larger than max" // gRPC's words
					}
				}
				atLevels(t, levels, func(t *testing.T, policy sandbox.Policy) {
					cfg := fake(t, name)
					cfg.Inline, cfg.Sandbox = inline, policy
					lieTo(t, cfg, name, says)
				})
			})
		}
	}
}

// What only a worker with a link can do wrong.
func TestALieOnTheLinkCostsTheWorkerAndIsBlamedOnItsItems(t *testing.T) {
	for name, says := range map[string]string{
		"message on the stream":           "a message on the stream",
		"rubbish on the link":             "broke the protocol: a frame that is no message",
		"a frame of 4 GiB":                "4294967295 bytes, the limit is",
		"half a frame":                    "closed its stream",
		"closes the link":                 "closed its stream",
		"ends the stream, keeps the link": "closed its stream",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atLevels(t, allLevels, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Sandbox = policy
				lieTo(t, cfg, name, says)
			})
		})
	}
}

// lieTo runs items over a plugin that lies, and wants all of them blamed with certain words.
func lieTo(t *testing.T, cfg host.Config, name, says string) {
	t.Helper()
	n := 3
	if name == "too much" {
		n, cfg.MaxResultBytes = 1, 1<<20 // the message is of 32 MiB
	}
	p := open(t, cfg)
	within(t, "Map over a plugin that lies", 10*time.Second, func() {
		_, err := typed[int, int](p).Map(t.Context(), make([]int, n))
		errs := mapErrors(t, "Map over a plugin that lies", err)
		if len(errs) != n {
			t.Fatalf("got %v, want all %d items blamed", err, n)
		}
		for i, e := range errs {
			if e.Kind != host.KindCrashed || !strings.Contains(e.Message, says) {
				t.Errorf("item %d: got %v, want crashed with %q", i, e, says)
			}
		}
	})
}

// What a worker says at its end, or what of it turns up in an error, goes to each item, and into logs and records.
func TestWordsOfAWorkerAreBounded(t *testing.T) {
	const most = wire.MaxMessageText
	for name, kind := range map[string]host.Kind{
		"last words": host.KindCrashed, "last words, too large": host.KindCrashed, "a number without end": host.KindFailed,
	} {
		for way, inline := range map[string]bool{"link": false, "stream": true} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				cfg, events := fake(t, name), new(recorder)
				cfg.Inline, cfg.Observer, cfg.Grace = inline, events, time.Second // for words that come some time after the end of the link
				p := open(t, cfg)
				_, err := value(typed[int, int](p).Do(t.Context(), 1))
				if e := itemError(t, "Do", err, kind); len(e.Message) > most || len(e.Message) < most/2 {
					t.Errorf("got a message of %d bytes, want at most %d, and most of them", len(e.Message), most)
				}
				p.Close()
				for _, e := range ofKind[host.WorkerEnded](events) {
					if len(e.Reason) > most {
						t.Errorf("the worker's end has a reason of %d bytes, want at most %d", len(e.Reason), most)
					}
				}
			})
		}
	}
}

// What goes on below gRPC costs the worker too, and its host neither time nor memory.
func TestAPluginThatAbusesHTTP2DoesNotStart(t *testing.T) {
	for name, says := range map[string]string{
		"http2: garbage":       "frame too large",
		"http2: hangs up":      "",
		"http2: goes away":     "not done after 3s (Config.StartTimeout)",
		"http2: huge headers":  "", // a protocol error, or, where it takes long to read them, the limit
		"http2: pings":         "not done after 3s (Config.StartTimeout)",
		"http2: settings":      "not done after 3s (Config.StartTimeout)",
		"http2: pushes":        "not done after 3s (Config.StartTimeout)",
		"http2: beyond window": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atLevelsTogether(t, func(t *testing.T, policy sandbox.Policy) {
				cfg := fake(t, name)
				cfg.Sandbox, cfg.StartTimeout = policy, startTimeout
				failsToStart(t, cfg, "describe", says, "")
			})
		})
	}
}

// A plugin with one workload does not look at the name that it is asked for. Its host does.
func TestAPluginsOnlyWorkloadHasToHaveTheNameThatIsAskedFor(t *testing.T) {
	cfg := fake(t, "saves credit")
	for name, refused := range map[string]bool{"": false, "liar": false, "up": true} {
		cfg.PluginWorkload = name
		p, err := host.Open(t.Context(), cfg)
		if err == nil {
			_ = p.Close()
		}
		start, ok := errors.AsType[*host.StartError](err)
		if ok != refused || ok && (start.Stage != "describe" || !strings.Contains(start.Error(), `no workload named "up": its only one is "liar"`)) {
			t.Errorf("the workload %q: got %v, refused for its name: %t, want %t", name, err, ok, refused)
		}
	}
}
