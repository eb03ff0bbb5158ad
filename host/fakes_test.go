//go:build unix

package host_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/link"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// fakes are plugins that break their promises: first those that never get as far as a handshake, then those that lie.
var fakes = map[string]func(){
	"rubbish":       func() { say("Hello, I am a program."); select {} },
	"rubbish, ends": func() { say("usage: program FILE"); os.Exit(64) },
	"binary":        func() { _, _ = os.Stdout.Write(make([]byte, 1<<20)); select {} },
	"endless line": func() {
		for {
			_, _ = os.Stdout.WriteString(strings.Repeat("x", 1<<16))
		}
	},
	"exits":   func() { fmt.Fprintln(os.Stderr, "license expired"); os.Exit(5) },
	"hoards":  func() { _, _ = misbehave(context.Background(), order{Do: "hoard"}) },
	"hangs":   func() { fmt.Fprintln(os.Stderr, "thinking"); select {} },
	"closes":  func() { os.Stdout.Close(); select {} },
	"version": func() { say("1|99|unix|/nowhere|grpc|"); select {} },
	"core":    func() { say("2|1|unix|/nowhere|grpc|"); select {} },
	"netrpc":  func() { shake("unix", listen("unix", socket()), "netrpc") },
	"tcp":     func() { shake("tcp", os.Getenv(foreignTCP), "grpc") },
	"foreign": func() { shake("unix", os.Getenv(foreignSocket), "grpc") },
	"symlink": func() { shake("unix", symlink(), "grpc") },
	"upwards": func() { shake("unix", filepath.Dir(socket())+"/../s", "grpc") },
	"file":    func() { shake("unix", file(), "grpc") },
	"missing": func() { shake("unix", socket(), "grpc") },
	"certificate": func() {
		say(fmt.Sprintf("1|%d|unix|%s|grpc|%s", wire.Version, listen("unix", socket()), certificate()))
		select {}
	},
	"deaf": func() { shake("unix", listen("unix", socket()), "grpc") },
	"detached": func() { // leaves a process behind that holds stdout, and never says anything
		exe, err := self()
		if err != nil {
			panic(err)
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), daemonEnv+"=sleep", fakeEnv+"=")
		cmd.Stdout, cmd.SysProcAttr = os.Stdout, newSession()
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "left behind")
		os.Exit(3)
	},
	"noise after":      func() { fakeServe(&liar{work: honest(func() { say("not for you") })}) },
	"no manifest":      claims(func(m *workerpb.Manifest) { m.Reset() }),
	"unknown kind":     claims(func(m *workerpb.Manifest) { m.ItemKind = "float640" }),
	"long kind":        claims(func(m *workerpb.Manifest) { m.ItemKind = strings.Repeat("\x1b", 1000) }),
	"endless manifest": claims(func(m *workerpb.Manifest) { m.Description = strings.Repeat("x", 2<<20) }),
	"many examples":    claims(func(m *workerpb.Manifest) { m.Examples = make([][]byte, 400_000) }),
	"name of colors":   claims(func(m *workerpb.Manifest) { m.Name = "x\x1b[2J" }),
	"deep schema": claims(func(m *workerpb.Manifest) {
		m.ItemSchema = strings.Repeat(`{"not":`, 65) + "{}" + strings.Repeat("}", 65)
	}),
	"too many threads": claims(func(m *workerpb.Manifest) { m.Threads = 1 << 30 }),
	"needs a terminal": claims(func(m *workerpb.Manifest) { m.Needs = &workerpb.Needs{Read: []string{"/\x1b[2J"}} }),
	"describe hangs":   func() { fakeServe(&liar{describe: func() { select {} }}) },
	"describes slowly": func() { fakeServe(&liar{describe: func() { time.Sleep(700 * time.Millisecond) }}) },
	"describe exits":   func() { fakeServe(&liar{describe: func() { os.Exit(6) }}) },
	"not ready": func() {
		fakeServe(&liar{work: func(s stream) error { return s.Send(results(&workerpb.Results{Batch: 1})) }})
	},
	"reads nothing": func() {
		fakeServe(&liar{manifest: &workerpb.Manifest{Name: liarName(), ItemKind: "json", ResultKind: "json", Threads: 2}, work: func(s stream) error {
			_, out := linkFDs()
			_ = s.Send(ready(out > 0))
			select {}
		}})
	},
	"never ready":      func() { fakeServe(&liar{work: func(stream) error { select {} }}) },
	"too many results": lie(func(b *workerpb.Batch) *workerpb.Results { return good(b, b.GetCount()+1) }),
	"foreign batch":    lie(func(b *workerpb.Batch) *workerpb.Results { r := good(b, 1); r.Batch += 1000; return r }),
	"a gap":            lie(func(b *workerpb.Batch) *workerpb.Results { r := good(b, b.GetCount()); r.From = 1; return r }),
	"room that is none": lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.RoomAt, r.RoomUsed = 1<<40, 1<<40
		return r
	}),
	"short column": lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.Values = r.Values[:len(r.Values)-1]
		return r
	}),
	"no column": lie(func(b *workerpb.Batch) *workerpb.Results { r := good(b, b.GetCount()); r.Values = nil; return r }),
	"long column": lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.Values = append(r.Values, 0)
		return r
	}),
	"no JSON": lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.Values[len(r.Values)-1] = '{'
		return r
	}),
	"too many times": lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.ItemNs = make([]uint64, b.GetCount()+1)
		return r
	}),
	"errors out of order": lie(func(b *workerpb.Batch) *workerpb.Results { r := good(b, b.GetCount()); r.Errors = twice(0); return r }),
	"an error out of place": lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.Errors = twice(b.GetCount())[:1]
		return r
	}),
	"many errors":   listing(100_000),
	"errors by MiB": listing(2 << 20), // of two bytes each
	"huge counts": lie(func(b *workerpb.Batch) *workerpb.Results {
		return &workerpb.Results{Batch: b.GetId(), From: 1<<32 - 1, Count: 1<<32 - 1}
	}),
	"huge count": lie(func(b *workerpb.Batch) *workerpb.Results {
		return &workerpb.Results{Batch: b.GetId(), Count: 1<<32 - 1}
	}),
	"nothing done": lie(func(b *workerpb.Batch) *workerpb.Results { return &workerpb.Results{Batch: b.GetId(), Last: true} }),
	"nothing done, leaving": lie(func(b *workerpb.Batch) *workerpb.Results {
		return &workerpb.Results{Batch: b.GetId(), Last: true, Leaving: true}
	}),
	"endless nothing": func() {
		fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error {
			for {
				if err := s.Send(results(&workerpb.Results{Batch: b.GetId()})); err != nil {
					return err
				}
			}
		})})
	},
	"endless progress": func() {
		fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error {
			for {
				if err := s.Send(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Progress{Progress: &workerpb.Progress{Batch: b.GetId(), Fraction: 0.5}}}); err != nil {
					return err
				}
			}
		})})
	},
	"too much": func() {
		fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error {
			r := good(b, b.GetCount())
			r.Errors = []*workerpb.ItemError{{Message: strings.Repeat("x", 32<<20)}}
			return s.Send(results(r))
		})})
	},
	"says it was too much": func() {
		fakeServe(&liar{work: dialogue(func(stream, *workerpb.Batch) error {
			return grpcstatus.Error(codes.ResourceExhausted, "message is 9999999999 bytes, the limit is 1")
		})})
	},
	"ready twice": func() {
		fakeServe(&liar{work: dialogue(func(s stream, _ *workerpb.Batch) error { return s.Send(ready(false)) })})
	},
	"empty answer": func() {
		fakeServe(&liar{work: dialogue(func(s stream, _ *workerpb.Batch) error { return s.Send(&workerpb.WorkResponse{}) })})
	},
	"message on the stream": func() {
		fakeServe(&liar{work: func(s stream) error {
			if err := s.Send(ready(true)); err != nil {
				return err
			}
			if err := s.Send(&workerpb.WorkResponse{}); err != nil {
				return err
			}
			select {}
		}})
	},
	"rubbish on the link": func() { fakeServe(&liar{raw: write("\x05\x00\x00\x00\xff\xff\xff\xff\xff")}) },
	"a frame of 4 GiB":    func() { fakeServe(&liar{raw: write("\xff\xff\xff\xff")}) },
	"half a frame": func() {
		fakeServe(&liar{raw: func(out *os.File) error {
			_, _ = out.WriteString("\x40\x00\x00\x00half")
			return out.Close()
		}})
	},
	"closes the link": func() {
		fakeServe(&liar{raw: func(out *os.File) error {
			_ = out.Close()
			select {}
		}})
	},
	"ends the stream, keeps the link": func() {
		fakeServe(&liar{raw: func(*os.File) error { return nil }})
	},
	"last words":            lastWords(codes.Unknown),
	"last words, too large": lastWords(codes.ResourceExhausted),
	"no UTF-8":              func() { fakeServe(&liar{work: dialogue(answerWith("\"a\xff\""))}) },
	"a number without end":  func() { fakeServe(&liar{work: dialogue(answerWith(strings.Repeat("1", 1<<20)))}) },
	"hangs up":              func() { fakeServe(&liar{work: dialogue(func(stream, *workerpb.Batch) error { return errHangUp })}) },
	"breaks its stream": func() { // with an error of gRPC's in another one
		fakeServe(&liar{work: dialogue(func(stream, *workerpb.Batch) error {
			return fmt.Errorf("send: %w", grpcstatus.Error(codes.Internal, grpcstatus.Error(codes.DataLoss, "no reason").Error()))
		})})
	},
	"odd numbers": func() { // strange, but nothing that a host could hold against it
		fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error {
			r := good(b, b.GetCount())
			r.RunNs, r.ItemNs = 1<<64-1, make([]uint64, b.GetCount())
			for i := range r.ItemNs {
				r.ItemNs[i] = 1<<64 - 1
			}
			if err := s.Send(results(r)); err != nil {
				return err
			}
			return s.Send(results(&workerpb.Results{Batch: b.GetId(), From: b.GetCount(), Last: true}))
		})})
	},
}

// socket is a path in the folder that the host gave.
func socket() string { return filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s") }

// listen opens a socket at which nobody ever answers.
func listen(network, address string) string {
	l, err := net.Listen(network, address)
	if err != nil {
		panic(err)
	}
	return l.Addr().String()
}

// symlink points to a socket of somebody else, if the walls let it.
func symlink() string {
	if err := os.Symlink(os.Getenv(foreignSocket), socket()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return socket()
}

func file() string {
	if err := os.WriteFile(socket(), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return socket()
}

func shake(network, address, protocol string) {
	say(fmt.Sprintf("1|%d|%s|%s|%s|", wire.Version, network, address, protocol))
	select {}
}

// certificate is one that go-plugin could read.
func certificate() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(der)
}

// errHangUp makes a dialogue end as if all were well.
var errHangUp = errors.New("hang up")

// stream is what a liar speaks over: gRPC's stream, or past it a link.
type stream interface {
	Send(*workerpb.WorkResponse) error
	Recv() (*workerpb.WorkRequest, error)
	Context() context.Context
}

// liar is a worker service written by hand.
type liar struct {
	workerpb.UnimplementedWorkerServiceServer
	manifest *workerpb.Manifest
	describe func()
	work     func(stream) error
	raw      func(out *os.File) error // has the pipes of the link instead, once it has said that it is ready
}

func (l *liar) Describe(context.Context, *workerpb.DescribeRequest) (*workerpb.DescribeResponse, error) {
	if l.describe != nil {
		l.describe()
	}
	m := l.manifest
	if m == nil {
		m = &workerpb.Manifest{Name: liarName(), ItemKind: "json", ResultKind: "json"}
	}
	return &workerpb.DescribeResponse{Manifest: m}, nil
}

func (l *liar) Work(s workerpb.WorkerService_WorkServer) error {
	if l.raw == nil {
		return l.work(s)
	}
	in, out := linkFDs()
	if err := s.Send(ready(true)); err != nil {
		return err
	}
	// Not before there is something to lose: a worker that ends untried counts as a failed start.
	pipe := os.NewFile(uintptr(in), "in")
	defer runtime.KeepAlive(pipe) // which the garbage collector would close
	_, _ = pipe.Read(make([]byte, 1))
	return l.raw(os.NewFile(uintptr(out), "out"))
}

// linkFDs are the numbers of the pipes that the host gave, 0 if there are none.
func linkFDs() (in, out int) {
	_, _ = fmt.Sscanf(os.Getenv(wire.EnvLink), "%d,%d", &in, &out)
	return in, out
}

func results(r *workerpb.Results) *workerpb.WorkResponse {
	return &workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: r}}
}

func ready(linked bool) *workerpb.WorkResponse {
	return &workerpb.WorkResponse{Message: &workerpb.WorkResponse_Ready{Ready: &workerpb.Ready{Link: linked}}}
}

// dialogue is a worker that gets ready and answers each batch in its way, over the link if the host gave it one.
func dialogue(answer func(stream, *workerpb.Batch) error) func(stream) error {
	return func(s stream) error {
		in, out := linkFDs()
		if err := s.Send(ready(out > 0)); err != nil {
			return err
		}
		if out > 0 {
			l, err := link.Open(in, out, 1<<30)
			if err != nil {
				return err
			}
			defer l.Close()
			s = link.NewServer(s.(workerpb.WorkerService_WorkServer), l)
		}
		for {
			req, err := s.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if b := req.GetBatch(); b != nil {
				if err := answer(s, b); errors.Is(err, errHangUp) {
					return nil
				} else if err != nil {
					return err
				}
			}
		}
	}
}

// write says something on the link, and nothing else.
func write(what string) func(out *os.File) error {
	return func(out *os.File) error {
		_, _ = out.WriteString(what)
		select {}
	}
}

// honest answers every item with the JSON text 1, and does something else besides.
func honest(also func()) func(stream) error {
	return dialogue(func(s stream, b *workerpb.Batch) error {
		also()
		return s.Send(results(good(b, b.GetCount())))
	})
}

// liarName is the name of the workload in a liar's manifest. Honest workers of the same pool have the same name.
func liarName() string {
	if os.Getenv(liesEnv) != "" {
		return "mayhem"
	}
	return "liar"
}

// claims is a plugin that says something of itself.
func claims(what func(m *workerpb.Manifest)) func() {
	return func() {
		m := &workerpb.Manifest{Name: liarName(), ItemKind: "json", ResultKind: "json"}
		what(m)
		fakeServe(&liar{manifest: m})
	}
}

// lastWords is a plugin that ends its stream with 100 000 bytes of them.
func lastWords(code codes.Code) func() {
	return func() {
		fakeServe(&liar{work: dialogue(func(stream, *workerpb.Batch) error {
			return grpcstatus.Error(code, strings.Repeat("\x1b[2J\n", 20_000))
		})})
	}
}

// answerWith answers each item with a JSON text.
func answerWith(text string) func(stream, *workerpb.Batch) error {
	return func(s stream, b *workerpb.Batch) error {
		var w wire.ColumnWriter
		for range b.GetCount() {
			w.End(append(w.Begin(), text...))
		}
		return s.Send(results(&workerpb.Results{Batch: b.GetId(), Count: b.GetCount(), Values: w.Bytes(), Last: true}))
	}
}

// good are results that nobody could complain of.
func good(b *workerpb.Batch, count uint32) *workerpb.Results {
	var w wire.ColumnWriter
	for range count {
		w.End(append(w.Begin(), '1'))
	}
	return &workerpb.Results{Batch: b.GetId(), Count: count, Values: w.Bytes(), Last: true}
}

// twice are two errors for the same item.
func twice(item uint32) []*workerpb.ItemError {
	return []*workerpb.ItemError{{Item: item, Message: "a"}, {Item: item, Message: "b"}}
}

// lie is a plugin that answers every batch with something that is not true.
func lie(answer func(*workerpb.Batch) *workerpb.Results) func() {
	return func() {
		fakeServe(&liar{work: dialogue(func(s stream, b *workerpb.Batch) error { return s.Send(results(answer(b))) })})
	}
}

// listing is a plugin that has so many empty errors for each batch.
func listing(n int) func() {
	return lie(func(b *workerpb.Batch) *workerpb.Results {
		r := good(b, b.GetCount())
		r.Errors = slices.Repeat([]*workerpb.ItemError{{}}, n)
		return r
	})
}

// lieNowAndThen makes each start of a pool's workers the next of the given fakes; "" is an honest worker, and so are all that come later.
// The returned function tells how many starts there have been.
func lieNowAndThen(t *testing.T, cfg *host.Config, fakes []string) (starts func() int) {
	t.Helper()
	count := filepath.Join(t.TempDir(), "starts")
	cfg.Env = append(cfg.Env, liesEnv+"="+strings.Join(append([]string{count}, fakes...), "|"))
	return func() int {
		b, err := os.ReadFile(count)
		if err != nil {
			t.Error(err)
		}
		return len(b)
	}
}

// nextLie returns the fake that this process is to be by liesEnv, and counts it.
func nextLie() string {
	words := strings.Split(os.Getenv(liesEnv), "|")
	if len(words) < 2 {
		return ""
	}
	f, err := os.OpenFile(words[0], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString("."); err != nil {
		panic(err)
	}
	n, err := f.Seek(0, io.SeekCurrent) // behind what this process wrote, whoever else did
	if err != nil {
		panic(err)
	}
	if n < int64(len(words)) {
		return words[n]
	}
	return ""
}

type fakePlugin struct {
	plugin.NetRPCUnsupportedPlugin
	service *liar
}

func (p *fakePlugin) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	workerpb.RegisterWorkerServiceServer(g, p.service)
	return nil
}

func (p *fakePlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("no client")
}

func fakeServe(l *liar) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{wire.Version: {wire.PluginName: &fakePlugin{service: l}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxSendMsgSize(1<<31-1))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// fake is the config of a pool of a plugin that breaks its promises.
func fake(t *testing.T, name string) host.Config {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if fakes[name] == nil {
		t.Fatalf("no fake is called %q", name)
	}
	return host.Config{
		Plugin: exe, Workers: 1, Env: []string{fakeEnv + "=" + name}, TempDir: shortDir(t),
		StartTimeout: 10 * time.Second, SetupTimeout: 10 * time.Second, Grace: 100 * time.Millisecond,
	}
}

func TestAShellScriptIsNoPlugin(t *testing.T) {
	script := filepath.Join(t.TempDir(), "parhost-plugin-script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no plugin >&2\nexit 4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := host.Open(t.Context(), host.Config{Plugin: "script", PluginDirs: []string{filepath.Dir(script)}, Workers: 2})
	if e, ok := errors.AsType[*host.StartError](err); !ok || e.Stage != "handshake" || len(e.Stderr) == 0 || e.Stderr[0] != "no plugin" {
		t.Errorf("Open: got %v, want a StartError with the script's last words", err)
	}
	if err := os.WriteFile(script, []byte("\x7fELF, but not really"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = host.Open(t.Context(), host.Config{Plugin: script, Workers: 2})
	if e, ok := errors.AsType[*host.StartError](err); !ok || e.Stage != "exec" {
		t.Errorf("Open of a file that cannot be executed: got %v, want a StartError at stage exec", err)
	}
}

func TestNoiseAfterTheHandshakeIsHarmless(t *testing.T) {
	p := open(t, fake(t, "noise after"))
	got, err := typed[int, int](p).Map(t.Context(), make([]int, 100))
	if err != nil || got[99] != 1 {
		t.Errorf("Map: got %v, %v, want ones", got, err)
	}
}

func TestOddNumbersAreHarmless(t *testing.T) {
	p := open(t, fake(t, "odd numbers"))
	for r, err := range typed[int, int](p).Stream(t.Context(), func(yield func(int) bool) { _ = yield(1) && yield(2) && yield(3) }) {
		if err != nil || r.Err != nil || r.Run < 0 || r.Run > time.Minute {
			t.Errorf("got %+v, %v, want a result with a time that can be", r, err)
		}
	}
}

func TestAPluginThatOnlyEverLeavesBreaksThePool(t *testing.T) {
	p := open(t, fake(t, "nothing done, leaving"))
	within(t, "Map over a plugin that does nothing", 10*time.Second, func() {
		_, err := typed[int, int](p).Map(t.Context(), make([]int, 10))
		if _, ok := errors.AsType[*host.BrokenError](err); !ok {
			t.Errorf("Map: got %v, want a BrokenError", err)
		}
	})
}

func TestEndlessProgressHoldsNothingUp(t *testing.T) {
	cfg := fake(t, "endless progress")
	t.Run("Close", func(t *testing.T) {
		p := open(t, cfg)
		h := typed[int, int](p).Start(t.Context(), 1)
		for h.PID() == 0 {
			time.Sleep(time.Millisecond) // until the item is under way
		}
		within(t, "Close", 3*time.Second, func() { p.Close() })
		<-h.Done()
	})
	t.Run("a limit", func(t *testing.T) {
		cfg.ItemTimeout = 100 * time.Millisecond
		p := open(t, cfg)
		within(t, "Do with a limit", 5*time.Second, func() {
			_, err := value(typed[int, int](p).Do(t.Context(), 1))
			_ = itemError(t, "Do with a limit", err, host.KindTimeout)
		})
	})
	t.Run("a cancel", func(t *testing.T) {
		cfg.ItemTimeout = 0
		p := open(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		within(t, "Do with an ended context", 3*time.Second, func() {
			if _, err := value(typed[int, int](p).Do(ctx, 1)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Do: got %v, want a deadline error", err)
			}
		})
	})
}

// gRPC takes one message for a worker that reads nothing, and holds up the next; a link holds up the first that it has no room for.
func TestAWorkerThatReadsNothingDoesNotHoldUpACancel(t *testing.T) {
	for way, inline := range map[string]bool{"link": false, "stream": true} {
		t.Run(way, func(t *testing.T) {
			cfg := fake(t, "reads nothing")
			cfg.Inline = inline
			readsNothing(t, cfg)
		})
	}
}

func readsNothing(t *testing.T, cfg host.Config) {
	t.Helper()
	p := open(t, cfg)
	first := typed[string, int](p).Start(t.Context(), strings.Repeat("x", 500_000))
	for p.Workers()[0].Batches == 0 {
		time.Sleep(time.Millisecond) // until it is under way
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	within(t, "Do with a deadline behind a message that is not read", 5*time.Second, func() {
		if _, err := value(typed[string, int](p).Do(ctx, "y")); err == nil {
			t.Error("Do: got no error, want one")
		}
	})
	first.Cancel()
}

// What was answered without being read has used up what gRPC sends unasked, so that the next message waits for a worker with nothing to do.
func TestAMessageBehindOneThatWasNotReadHoldsUpNobody(t *testing.T) {
	for name, c := range map[string]struct {
		timeout, deadline time.Duration
		says              string
	}{
		"a deadline":      {deadline: time.Second, says: context.DeadlineExceeded.Error()},
		"an item timeout": {timeout: time.Second, says: "does not read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := fake(t, "answers unread")
			cfg.ItemTimeout = c.timeout
			p := open(t, cfg)
			if got, err := value(typed[string, int](p).Do(t.Context(), strings.Repeat("x", 300_000))); err != nil || got != 1 {
				t.Fatalf("Do: got %v, %v, want the answer", got, err)
			}
			ctx := t.Context()
			if c.deadline > 0 {
				soon, cancel := context.WithTimeout(ctx, c.deadline)
				defer cancel()
				ctx = soon
			}
			within(t, "Do behind it", 5*time.Second, func() {
				if _, err := value(typed[string, int](p).Do(ctx, "y")); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("Do: got %v, want %q", err, c.says)
				}
			})
			within(t, "Close", 3*time.Second, func() { p.Close() })
		})
	}
}
