package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/channel"
	"github.com/parhost/parhost/internal/wire"
)

// Process is one worker process. It runs in a separate process group. Process reads its output, keeps its exit status, and kills the whole group. go-plugin
// uses a Process as its runner.
type Process struct {
	launcher   *Launcher
	number     int
	entry      entry // in the reaper's register
	output     *output
	env        []string
	inherited  []Inherited
	oomsBefore int64 // processes of this machine that the kernel had killed for lack of memory before the start

	cmd     *exec.Cmd
	sockets string          // folder in which the process has to listen
	launch  *sandbox.Launch // starts the process in its sandbox; nil before there is a command
	refused error           // why the sandbox or the checks before it did not let the process run
	death   sandbox.Death   // what the sandbox knows of the process's end

	network, address string // address of the process's server, checked
	conn             *connection

	alive     [2]*os.File // a channel whose writing end closes when the host is gone, or no longer needs the process
	pipes     []*os.File  // the host's ends of stdout and stderr
	handshake io.ReadCloser
	first     chan string   // the first line on stdout
	exited    chan struct{} // closed when the process has been reaped
	buried    chan struct{} // closed when Bury has returned
	spawned   atomic.Bool   // the process has been started
	doomed    atomic.Bool   // the process is to be killed, perhaps before it has been started
	reap      sync.Mutex    // held while the process is killed, and while it is reaped if the moment of its end is known
	reaped    atomic.Bool
	itself    bool // the process ended before the host killed it, see EndedItself
	state     *os.ProcessState
	started   time.Time
	stays     bool // the folder of the process's socket cannot be removed, because something is mounted there
}

var _ runner.Runner = (*Process)(nil)

// Inherited is a list of files that a process inherits. Variable is the environment variable that lists their numbers in the same order.
type Inherited struct {
	Variable string
	Files    []*os.File
	Shared   bool // the host uses the same files, so they stay open here after the start
}

// Settings are the settings of a single process.
type Settings struct {
	Number    int // number of the worker in its pool, from 1
	Env       []string
	Inherited []Inherited
	Logger    hclog.Logger                // gets the process's output
	Item      func() (index int, ok bool) // returns the item that a line of output comes from, if that is clear; may be nil
	Flooded   func()                      // called once, when the process writes more than Options.MaxOutputBytes beyond QuietRate
}

// Inherit adds files for the process to inherit. The environment variable tells the process their numbers. shared says that the host continues to use the same
// files.
func (s *Settings) Inherit(variable string, shared bool, files ...*os.File) {
	s.Inherited = append(s.Inherited, Inherited{variable, files, shared})
}

// New returns a process that go-plugin is going to start.
func (l *Launcher) New(s Settings) *Process {
	p := &Process{
		launcher: l, number: s.Number, entry: l.reaper.enter(), env: s.Env, inherited: s.Inherited, oomsBefore: oomKills(),
		output: &output{logger: s.Logger, rate: newRateLimiter(l.options.MaxOutputBytes, s.Flooded), item: s.Item},
		conn:   new(connection), exited: make(chan struct{}), buried: make(chan struct{}),
	}
	p.output.rate.exited = p.exited
	return p
}

// Prepare makes the command of the process. The process is to listen in the folder sockets, and gets the environment variables env of go-plugin. Prepare keeps
// an error of the sandbox for [Process.Refused].
func (p *Process) Prepare(env []string, sockets string) error {
	cmd := p.launcher.command(slices.Concat(p.env, env, []string{p.entry.variable()}))
	if canInherit {
		if err := p.openAlive(); err != nil {
			return err
		}
		inherit(cmd, wire.EnvAlive, p.alive[0])
		for _, i := range p.inherited {
			inherit(cmd, i.Variable, i.Files...)
		}
	}
	p.cmd, p.sockets = cmd, sockets
	p.launch, p.refused = p.launcher.Box.Wrap(cmd, p.number)
	return p.refused
}

// inherit passes files to a process, and lists their numbers in an environment variable of the process.
func inherit(cmd *exec.Cmd, variable string, files ...*os.File) {
	const standard = 3 // stdin, stdout, stderr
	var numbers []string
	for _, f := range files {
		numbers = append(numbers, strconv.Itoa(standard+len(cmd.ExtraFiles)))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(cmd.Env, variable+"="+strings.Join(numbers, ","))
}

// Start starts the process. Its stdin is empty, because it must not read the host's.
func (p *Process) Start(ctx context.Context) error {
	stdout, stdoutW, err := channel.FromWorker()
	if err != nil {
		return err
	}
	defer stdoutW.Close()
	stderr, stderrW, err := channel.FromWorker()
	if err != nil {
		return errors.Join(err, stdout.Close())
	}
	defer stderrW.Close()
	p.pipes = []*os.File{stdout, stderr}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = nil, stdoutW, stderrW
	p.started = time.Now()
	if err := p.launcher.spawner.start(p.cmd, p.entry.started); err != nil {
		p.closeTheirs()
		p.closePipes()
		if err = p.launch.StartError(err); errors.Is(err, sandbox.ErrNotSupported) {
			p.refused = err
		}
		return err
	}
	p.spawned.Store(true)
	p.closeTheirs()
	if p.doomed.Load() {
		killGroup(p.cmd.Process)
	}
	go p.await()
	out, errs := openSource(stdout), openSource(stderr)
	p.output.from = []*source{out, errs}
	p.output.readers.Go(func() { p.output.read(p.output.reader(errs), errs) })
	if p.refused = p.launch.Confirm(ctx); p.refused != nil {
		return p.refused // no handshake will be read
	}
	p.first = make(chan string, 1)
	p.handshake = p.output.handshakeReader(out, p.first)
	return nil
}

// await waits for the end of the process, kills the rest of its group, and reaps it.
func (p *Process) await() {
	defer p.endOutput()
	defer close(p.exited)
	defer p.entry.leave()
	if awaitExit(p.PID()) {
		p.itself = !p.doomed.Load()
		killGroup(p.cmd.Process) // before the process is reaped, its process id cannot belong to another process
		p.reap.Lock()
		defer p.reap.Unlock()
		p.state, _ = p.cmd.Process.Wait()
		p.reaped.Store(true)
		return
	}
	p.state, _ = p.cmd.Process.Wait()
	p.itself = !p.doomed.Load()
	p.reaped.Store(true)
	killGroup(p.cmd.Process) // the id of a group is not reused while the group has members
}

// openAlive makes the channel that tells the process about the end of its host. No other process has this channel: with a shared one a worker could end other
// workers.
func (p *Process) openAlive() error {
	ours, theirs, err := channel.ToWorker()
	if err != nil {
		return err
	}
	p.alive = [2]*os.File{theirs, ours}
	return nil
}

// closeTheirs closes the process's ends of channels in this process, so that the host reads the end of a channel when the worker is gone.
func (p *Process) closeTheirs() {
	_ = p.alive[0].Close() // Close also works for a nil file
	for _, i := range p.inherited {
		if i.Shared {
			continue
		}
		for _, f := range i.Files {
			_ = f.Close()
		}
	}
}

// hangUpTime is how long the connection may stay open after the process has ended.
const hangUpTime = 2 * time.Second

// endOutput soon ends the reading of output, and the connection. A process that has left the group may hold the other ends open for as long as it likes.
func (p *Process) endOutput() {
	for _, pipe := range p.pipes {
		_ = pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
	time.AfterFunc(hangUpTime, p.conn.hangUp)
}

// closePipes closes the host's ends of stdout and stderr. A close waits for a read that is under way, so the wait is bounded.
func (p *Process) closePipes() {
	Bounded(func() {
		for _, pipe := range p.pipes {
			_ = pipe.Close()
		}
	})
}

// closeTime is how long the host waits for the kernel to close what it shares with a process. Closing normally takes microseconds.
const closeTime = 200 * time.Millisecond

// Bounded calls f, and returns when f does, or after 200 ms. A plugin can make a system call on something that it shares with the host last forever, so the
// host must never wait for such a call without a bound.
func Bounded(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(closeTime):
	}
}

// Stdout implements [runner.Runner]. It gives go-plugin the handshake line.
func (p *Process) Stdout() io.ReadCloser { return p.handshake }

// Stderr implements [runner.Runner]. It gives go-plugin nothing, because Process reads the output itself.
func (p *Process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements [runner.Runner].
func (p *Process) Name() string { return p.cmd.Path }

// ID implements [runner.Runner]. It returns the process id, or "" before the start.
func (p *Process) ID() string {
	if !p.spawned.Load() {
		return ""
	}
	return strconv.Itoa(p.PID())
}

// Diagnose implements [runner.Runner]. It returns "", because the host describes failed starts itself.
func (p *Process) Diagnose(context.Context) string { return "" }

// Wait implements [runner.Runner]. It waits until the process has been reaped, or Bury has returned.
func (p *Process) Wait(context.Context) error {
	select {
	case <-p.exited:
	case <-p.buried:
	}
	return nil
}

// Kill implements [runner.Runner]. go-plugin calls it when there is no handshake. In most cases the process is then about to end by itself. Kill first gives it
// a moment for that, because the exit status of a killed process would not give the reason.
func (p *Process) Kill(context.Context) error {
	p.AwaitEnd(EndTime)
	p.KillNow()
	return nil
}

// KillNow kills the process and its group. A process that has not been started yet is killed as soon as it has been started.
func (p *Process) KillNow() {
	p.doomed.Store(true) // stored before spawned is read: either KillNow sees the process, or Start sees doomed
	if !p.spawned.Load() {
		return
	}
	p.reap.Lock()
	defer p.reap.Unlock()
	if !p.reaped.Load() { // after that its process id may belong to another process
		killGroup(p.cmd.Process)
	}
	p.launch.Kill()
}

const (
	buryTime   = 3 * time.Second        // time for a killed process to be gone
	hurryTime  = time.Second            // the same, if the pool must end at once
	lingerTime = 300 * time.Millisecond // the same, if nothing keeps the process
)

// Bury kills the process if it lives, waits until it is gone, and closes everything that the host shared with it. It returns within a few seconds, whatever the
// process does. It is called once.
func (p *Process) Bury() {
	defer close(p.buried)
	if p.launch != nil {
		defer p.launch.Close()
	}
	defer Bounded(func() { _ = p.alive[1].Close() })
	if !p.spawned.Load() {
		p.entry.leave()
		p.closeTheirs()
		p.stays = !p.launcher.Folder.Drop(p.sockets) // p.sockets is "" if there is no folder
		return
	}
	p.KillNow()
	p.conn.hangUp()
	if p.AwaitEnd(lingerTime); !isClosed(p.exited) {
		p.entry.linger()
		p.awaitEndUnless(p.launcher.options.Hurry, buryTime-lingerTime) // a process that stays longer waits in the kernel, as on a dead network disk
	}
	if isClosed(p.exited) && p.state != nil {
		p.death = p.launch.Death(p.state, !p.EndedItself())
	}
	p.output.lines(100 * time.Millisecond)
	p.closePipes() // this ends the readers even if a process that left the group holds the other ends
	p.stays = !p.launcher.Folder.Drop(p.sockets)
}

// BrokeConnection reports whether gRPC closed the connection because the worker sent invalid HTTP/2. It is called before Bury.
func (p *Process) BrokeConnection() bool { return p.conn.wasRefused() }

// Stays reports, after Bury, whether the folder of the process's socket could not be removed because something is mounted there.
func (p *Process) Stays() bool { return p.stays }

// PluginToHost implements [runner.Runner]. It checks the address that the process gives. Whatever the process says, the host connects only to a socket in the
// folder that it made for the process.
func (p *Process) PluginToHost(network, address string) (string, string, error) {
	if UsesTCP {
		if network != "tcp" || !strings.HasPrefix(address, "127.0.0.1:") {
			return "", "", fmt.Errorf("plugin listens at %s %q, want tcp on 127.0.0.1", network, address)
		}
		p.network, p.address = network, address
		return network, address, nil
	}
	folder := p.folder()
	if network != "unix" || filepath.Dir(address) != folder {
		return "", "", fmt.Errorf("plugin listens at %s %q, want a unix socket in %q", network, address, folder)
	}
	if err := p.checkSocket(address); err != nil {
		return "", "", err
	}
	p.network, p.address = network, address
	return network, address, nil
}

// folder returns the folder in which the process must listen, by its path inside the sandbox.
func (p *Process) folder() string {
	if folder := p.launch.Sockets(); folder != "" {
		return filepath.Clean(folder)
	}
	return filepath.Clean(p.sockets)
}

// checkSocket checks that there is a socket in the process's folder.
func (p *Process) checkSocket(address string) error {
	if p.launch.Sockets() != "" {
		return p.launch.Check(filepath.Base(address))
	}
	info, err := os.Lstat(address)
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("plugin listens at %q, which is no socket but %s", address, info.Mode())
	}
	return nil
}

// HostToPlugin implements [runner.Runner].
func (p *Process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// Dial connects to the address that PluginToHost has checked.
func (p *Process) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return p.conn.set(conn)
}

func (p *Process) dial(ctx context.Context) (conn net.Conn, err error) {
	if p.network == "unix" && p.launch.Sockets() != "" {
		conn, err = p.launch.Dial(ctx, filepath.Base(p.address))
	} else {
		conn, err = (&net.Dialer{Control: channel.Control}).DialContext(ctx, p.network, p.address)
	}
	if err != nil || p.launcher.Box.Level() == sandbox.Strict { // at strict a process cannot put another process's socket into its folder
		return conn, err
	}
	if err := p.checkPeer(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// PID returns the process id. The process must have been started.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Spawned reports whether the process has been started.
func (p *Process) Spawned() bool { return p.spawned.Load() }

// Started returns the time when the process was started.
func (p *Process) Started() time.Time { return p.started }

// Exited returns a channel that is closed when the process has been reaped.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Refused returns why the sandbox, or the checks before it, did not let the process run; nil if they did.
func (p *Process) Refused() error { return p.refused }

// Recheck checks that the process runs the file that was to be started, see [sandbox.Launch.Recheck]. It is called after the process has described itself.
func (p *Process) Recheck() error { return p.launch.Recheck() }

// EndTime is how long before its end the connection and the pipes of a process may be closed.
const EndTime = 50 * time.Millisecond

// AwaitEnd waits for the end of the process, but at most for the time limit.
func (p *Process) AwaitEnd(limit time.Duration) {
	if !p.spawned.Load() {
		return
	}
	select {
	case <-p.exited:
	case <-time.After(limit):
	}
}

// AwaitEndInHurry is AwaitEnd, but returns at once when the pool must end at once.
func (p *Process) AwaitEndInHurry(limit time.Duration) {
	select {
	case <-p.exited:
	case <-p.launcher.options.Hurry:
	case <-time.After(limit):
	}
}

// awaitEndUnless is AwaitEnd, but waits no longer than hurryTime once hurry is closed.
func (p *Process) awaitEndUnless(hurry <-chan struct{}, limit time.Duration) {
	select {
	case <-p.exited:
	case <-time.After(limit):
	case <-hurry:
		p.AwaitEnd(min(limit, hurryTime))
	}
}

// EndedItself reports whether the process has ended for another reason than a kill by the host. The process may already be exiting when the host kills it: its
// connection closes before its exit is reported, by up to a second on a busy machine. Such a process keeps its exit code, which a SIGKILL from the host would
// have replaced.
func (p *Process) EndedItself() bool {
	return isClosed(p.exited) && (p.itself || p.state != nil && !mayBeKilled(p.state))
}

// MarkReady is called when the worker is ready, before the host sends the first item. What the process wrote before belongs to no item.
func (p *Process) MarkReady() { p.output.markReady() }

// Doomed reports whether the host has decided to kill the process.
func (p *Process) Doomed() bool { return p.doomed.Load() }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
