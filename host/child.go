package host

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

	"github.com/hashicorp/go-plugin/runner"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/channel"
	"github.com/parhost/parhost/internal/litter"
)

// child is the operating system's side of a worker process: it starts it in a group of its own, keeps its exit status, and
// kills the group, not just the one. go-plugin sees it as its runner.
type child struct {
	cmd     *exec.Cmd
	spawner *spawner
	litter  *litter.Folder // the pool's, in which sockets is
	family  relative
	sockets string // the folder in which the process has to listen
	output  *output

	launch  *sandbox.Launch // its way into the sandbox; nil before there is a command
	walled  bool            // there it can put nobody else's socket into its folder
	refused error           // why that came to no good end
	death   sandbox.Death   // what the sandbox knows of the process's end

	network, address string // of its server, checked
	line             *line  // to it

	arena     *os.File    // the memory that the process inherits, nil if none
	link      []*os.File  // its ends of the channels for messages, likewise
	rings     []*os.File  // what the process needs for the link's rings, likewise
	alive     [2]*os.File // a channel whose writing end closes when the host is gone, or has done with the process
	pipes     []*os.File  // the host's ends of stdout and stderr
	handshake io.ReadCloser
	first     chan string     // the first line on stdout
	exited    chan struct{}   // closed when the process has been reaped
	buried    chan struct{}   // closed when nobody waits for that any more
	hurry     <-chan struct{} // closed when the pool is to end now
	spawned   atomic.Bool     // there is a process
	doomed    atomic.Bool     // it was to be killed, perhaps before there was one
	reap      sync.Mutex      // held while the process is killed, and while it is reaped if the moment of its end is known
	reaped    atomic.Bool
	itself    bool // it was gone before the host killed it, see endedItself
	state     *os.ProcessState
	started   time.Time
	stays     bool // the folder of its socket cannot be moved, because something is mounted there
}

var _ runner.Runner = (*child)(nil)

// newChild returns a child that go-plugin is going to start.
func newChild(spawner *spawner, folder *litter.Folder, family relative, output *output) *child {
	c := &child{spawner: spawner, litter: folder, family: family, output: output, line: new(line), exited: make(chan struct{}), buried: make(chan struct{})}
	output.valve.exited = c.exited
	return c
}

// Start starts the process. Its stdin is empty: the host's is not shared.
func (c *child) Start(ctx context.Context) error {
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
	c.pipes = []*os.File{stdout, stderr}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = nil, stdoutW, stderrW
	c.started = time.Now()
	if err := c.spawner.start(c.cmd, c.family.born); err != nil {
		c.dropTheirs()
		c.closePipes()
		if err = c.launch.StartError(err); errors.Is(err, sandbox.ErrNotSupported) {
			c.refused = err
		}
		return err
	}
	c.spawned.Store(true)
	c.dropTheirs()
	if c.doomed.Load() {
		killGroup(c.cmd.Process)
	}
	go func() {
		defer c.hush()
		defer close(c.exited)
		defer c.family.leave()
		if awaitExit(c.pid()) {
			c.itself = !c.doomed.Load()
			killGroup(c.cmd.Process) // what it leaves behind; before it is reaped its number can be nobody else's
			c.reap.Lock()
			defer c.reap.Unlock()
			c.state, _ = c.cmd.Process.Wait()
			c.reaped.Store(true)
			return
		}
		c.state, _ = c.cmd.Process.Wait()
		c.itself = !c.doomed.Load()
		c.reaped.Store(true)
		killGroup(c.cmd.Process) // the number of a group is not given away while it has members
	}()
	out, errs := openSource(stdout), openSource(stderr)
	c.output.from = []*source{out, errs}
	c.output.done.Go(func() { c.output.read(c.output.reader(errs), errs) })
	if c.refused = c.launch.Confirm(ctx); c.refused != nil {
		return c.refused // nobody is going to read a handshake
	}
	c.first = make(chan string, 1)
	c.handshake = c.output.handshakeReader(out, c.first)
	return nil
}

// openAlive makes the channel that tells the process of the host's end. No other process has it: one could end others by what it does to it.
func (c *child) openAlive() error {
	ours, theirs, err := channel.ToWorker()
	if err != nil {
		return err
	}
	c.alive = [2]*os.File{theirs, ours}
	return nil
}

// dropTheirs closes the process's ends of channels in this one, so that the link reads as ended when the process is gone.
func (c *child) dropTheirs() {
	for _, f := range slices.Concat(c.link, c.rings, c.alive[:1]) {
		_ = f.Close() // of none, too
	}
}

// hangUpTime is how long the connection of a process that has ended may seem to live.
const hangUpTime = 2 * time.Second

// hush ends all that is heard of the process soon: one that left the group may hold the other ends of the pipes and of the connection for as
// long as it likes.
func (c *child) hush() {
	for _, p := range c.pipes {
		_ = p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
	time.AfterFunc(hangUpTime, c.line.hangUp)
}

// closePipes closes the host's ends. A close waits for a read that is under way.
func (c *child) closePipes() {
	patiently(func() {
		for _, p := range c.pipes {
			_ = p.Close()
		}
	})
}

// closeTime is how long the host waits for the kernel to close what it shares with a process. It takes microseconds, as a rule.
const closeTime = 200 * time.Millisecond

// patiently calls f, and returns when f does or closeTime is over: where a plugin has a say in how long a system call takes, nobody may
// wait for it without a bound.
func patiently(f func()) {
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

// Stdout gives go-plugin the handshake line; Stderr nothing, because output reads it.
func (c *child) Stdout() io.ReadCloser { return c.handshake }
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is part of [runner.Runner].
func (c *child) Name() string { return c.cmd.Path }

// ID is part of [runner.Runner]: the process id, or nothing before the start.
func (c *child) ID() string {
	if !c.spawned.Load() {
		return ""
	}
	return strconv.Itoa(c.pid())
}

// Diagnose is part of [runner.Runner]; the host describes failed starts itself.
func (c *child) Diagnose(context.Context) string { return "" }

func (c *child) pid() int { return c.cmd.Process.Pid }

// Wait waits for the process to be reaped, as long as that is worth it.
func (c *child) Wait(context.Context) error {
	select {
	case <-c.exited:
	case <-c.buried:
	}
	return nil
}

// Kill is part of [runner.Runner]. go-plugin calls it when there is no handshake, which mostly is so because the process is about to
// end: whether it does so by itself would not be known if it were killed at once.
func (c *child) Kill(context.Context) error {
	c.awaitEnd(endTime)
	c.kill()
	return nil
}

// kill kills the process and its group; if it has not been started yet, it will be killed when it is.
func (c *child) kill() {
	c.doomed.Store(true) // before spawned is looked at: either we see the process, or Start sees us
	if !c.spawned.Load() {
		return
	}
	c.reap.Lock()
	defer c.reap.Unlock()
	if !c.reaped.Load() { // afterwards its number may be somebody else's
		killGroup(c.cmd.Process)
	}
	c.launch.Kill()
}

const (
	buryTime   = 3 * time.Second        // of a process that has been killed
	hurryTime  = time.Second            // the same when the pool is to end now
	lingerTime = 300 * time.Millisecond // of which nothing keeps it, as a rule
)

// bury kills what is left, waits for it and lets go of the pipes. It is done within a few seconds whatever the process does.
func (c *child) bury() {
	defer close(c.buried)
	if c.launch != nil {
		defer c.launch.Close()
	}
	defer patiently(func() { _ = c.alive[1].Close() })
	if !c.spawned.Load() {
		c.family.leave()
		c.dropTheirs()
		c.stays = !c.litter.Drop(c.sockets) // "" when there is none
		return
	}
	c.kill()
	c.line.hangUp()
	if c.awaitEnd(lingerTime); !isClosed(c.exited) {
		c.family.linger()
		c.awaitEndUnless(c.hurry, buryTime-lingerTime) // else it is in the kernel's hands, as on a dead network disk
	}
	if isClosed(c.exited) && c.state != nil {
		c.death = c.launch.Death(c.state, !c.endedItself())
	}
	c.output.lines(100 * time.Millisecond)
	c.closePipes() // ends the readers even if a process that left the group holds the other ends
	c.stays = !c.litter.Drop(c.sockets)
}

// PluginToHost checks the address that the process wants to be called at: whatever it says, the host dials nothing but a
// socket in the folder that it made for it.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	if usesTCP {
		if network != "tcp" || !strings.HasPrefix(address, "127.0.0.1:") {
			return "", "", fmt.Errorf("plugin listens at %s %q, want tcp on 127.0.0.1", network, address)
		}
		c.network, c.address = network, address
		return network, address, nil
	}
	folder := c.folder()
	if network != "unix" || filepath.Dir(address) != folder {
		return "", "", fmt.Errorf("plugin listens at %s %q, want a unix socket in %q", network, address, folder)
	}
	if err := c.checkSocket(address); err != nil {
		return "", "", err
	}
	c.network, c.address = network, address
	return network, address, nil
}

// folder is where the process has to listen, as it sees it.
func (c *child) folder() string {
	if folder := c.launch.Sockets(); folder != "" {
		return filepath.Clean(folder)
	}
	return filepath.Clean(c.sockets)
}

// checkSocket checks that there is a socket in the process's folder.
func (c *child) checkSocket(address string) error {
	if c.launch.Sockets() != "" {
		return c.launch.Check(filepath.Base(address))
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

// HostToPlugin is part of [runner.Runner].
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// smallStack is a limit of the stack, in bytes, below which a program may end by SIGSEGV with no fault of its own, also before its first instruction:
// arguments, environment and the stack of a library written for the usual 8 MiB have to fit in it.
const smallStack = 1 << 20

// lastState says in words how the process ended, with its exit code (-1 for a signal) and the name of the signal.
func (c *child) lastState() (words string, code int, signal string) {
	select {
	case <-c.exited:
	default:
		return "process does not end", -1, ""
	}
	if c.state == nil {
		return "process was reaped by somebody else", -1, ""
	}
	if name, text := signalOf(c.state); name != "" {
		if limit := stackLimit(); name == "SIGSEGV" && limit >= 0 && limit < smallStack {
			text += fmt.Sprintf("; the stack is limited to %d bytes, ulimit -s", limit)
		}
		return fmt.Sprintf("process ended by %s (%s)", name, text), -1, name
	}
	return fmt.Sprintf("process ended with exit code %d", c.state.ExitCode()), c.state.ExitCode(), ""
}

// A connection and a pipe are closed a little earlier than their process is gone.
const endTime = 50 * time.Millisecond

// awaitEnd gives the process a moment to end.
func (c *child) awaitEnd(moment time.Duration) {
	if !c.spawned.Load() {
		return
	}
	select {
	case <-c.exited:
	case <-time.After(moment):
	}
}

// awaitEndUnless is awaitEnd, but waits no longer than hurryTime once hurry is closed.
func (c *child) awaitEndUnless(hurry <-chan struct{}, moment time.Duration) {
	select {
	case <-c.exited:
	case <-time.After(moment):
	case <-hurry:
		c.awaitEnd(min(moment, hurryTime))
	}
}

// endedItself reports whether the process has ended, and not because the host had killed it. A process may be on its way out when the host kills it: its
// connection closes before its exit is reported, by a second on a busy machine. It keeps its exit code then, which the host's SIGKILL would have replaced.
func (c *child) endedItself() bool {
	return isClosed(c.exited) && (c.itself || c.state != nil && !mayBeKilled(c.state))
}

// usage returns what the process had used when it ended, nil if that is not known.
func (c *child) usage() *Usage {
	if !isClosed(c.exited) || c.state == nil {
		return nil
	}
	return &Usage{User: c.state.UserTime(), System: c.state.SystemTime(), MaxRSS: maxRSS(c.state)}
}

// dial connects to the address that PluginToHost has checked.
func (c *child) dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.call(ctx)
	if err != nil {
		return nil, err
	}
	return c.line.take(conn)
}

func (c *child) call(ctx context.Context) (conn net.Conn, err error) {
	if c.network == "unix" && c.launch.Sockets() != "" {
		conn, err = c.launch.Dial(ctx, filepath.Base(c.address))
	} else {
		conn, err = (&net.Dialer{Control: channel.Control}).DialContext(ctx, c.network, c.address)
	}
	if err != nil || c.walled {
		return conn, err
	}
	if err := c.checkPeer(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
