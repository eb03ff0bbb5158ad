package family

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/internal/litter"
)

// envGuard makes a program that calls sdk.Serve or sdk.ServeChild run as a guard. Its value is the name of the families that it guards, a colon,
// and the folder that it removes.
const envGuard = "PARHOST_GUARD"

// guardPipe is the descriptor that a guard reads from. The host holds the other end of the pipe, so the pipe ends with the host.
const guardPipe = 3

const (
	// guardLimit is the time in which a guard is normally done. The host's user is promised one second.
	guardLimit = 900 * time.Millisecond
	// guardPatience is the most time that a guard spends if new members appear as fast as it kills them.
	guardPatience = 30 * time.Second
)

// guardSweepLimit is the time that a guard has to remove the folder after that. Nobody waits for this.
const guardSweepLimit = time.Minute

// guardNice is the nice value of a guard, so that its start takes no time from the pool's items.
const guardNice = 5

// Guard is a small process that outlives its host if the host is killed, until it has killed the host's families.
type Guard struct {
	cmd  *exec.Cmd
	pipe *os.File // when it ends without a byte, the guard knows that the host is dead
	gone chan struct{}
}

// OpenGuard starts this program again as a guard of all families of name n. The guard also removes a folder. [Served] must be true.
func OpenGuard(n Name, folder string) (*Guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", // the running executable, even if another file has replaced it
		Args: []string{"parhost-guard"},
		// A program that is built with the race detector would otherwise wait for a second before it exits.
		Env:        []string{envGuard + "=" + n.String() + ":" + folder, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0"},
		Dir:        "/",
		ExtraFiles: []*os.File{r},
		// A stopped guard would not notice the host's death, so the kernel sends it SIGCONT then.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGCONT},
	}
	if outer := os.Getenv(Env); outer != "" {
		cmd.Env = append(cmd.Env, Env+"="+outer)
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	// The priority is set after the start: setting it before would hold the lock that all starts of processes need, and delay other starts.
	_ = unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, guardNice)
	g := &Guard{cmd: cmd, pipe: w, gone: make(chan struct{})}
	go func() {
		defer close(g.gone)
		_ = cmd.Wait()
	}()
	return g, nil
}

// PID returns the guard's process id.
func (g *Guard) PID() int { return g.cmd.Process.Pid }

// Gone is closed when the guard has ended.
func (g *Guard) Gone() <-chan struct{} { return g.gone }

// Close tells the guard to exit without doing its work, and waits until it has ended. It kills a guard that does not exit within guardLimit.
func (g *Guard) Close() {
	_, _ = g.pipe.Write([]byte{1})
	_ = g.pipe.Close()
	select {
	case <-g.gone:
	case <-time.After(guardLimit): // the guard may be stopped
		_ = g.cmd.Process.Kill()
		<-g.gone
	}
}

// RunGuard runs as a guard if this process was started as one, and reports whether it was.
func RunGuard() bool {
	order, ok := os.LookupEnv(envGuard)
	if !ok {
		return false
	}
	name, folder, _ := strings.Cut(order, ":")
	n, err := Parse(name)
	if err != nil {
		return false
	}
	// A signal that ends a process group reaches the host too, and the host says when the guard may exit.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	_ = os.WriteFile("/proc/self/comm", []byte("parhost-guard"), 0) // otherwise the process is called exe
	pipe := os.NewFile(guardPipe, "host")
	if _, err := pipe.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return true // a byte means that the guard is not needed any more
	}
	for range 2 { // workers that end by themselves may have started processes during the first search
		_, _ = Search{Name: n, Limit: guardPatience / 2}.End()
	}
	if folder != "" {
		ctx, cancel := context.WithTimeout(context.Background(), guardSweepLimit)
		defer cancel()
		_ = litter.Remove(ctx, folder)
	}
	return true
}
