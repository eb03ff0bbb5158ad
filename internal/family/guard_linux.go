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

// envGuard makes a program that calls sdk.Serve or sdk.ServeChild a guard: the name of the families that it guards, a colon, and the
// folder that it removes.
const envGuard = "PARHOST_GUARD"

// guardPipe is the number of the descriptor from which a guard reads, and which ends with its host.
const guardPipe = 3

const (
	// guardLimit is what a guard has for its work, as a rule. The host's user is promised one second.
	guardLimit = 900 * time.Millisecond
	// guardPatience is what it has if new members appear as fast as it kills them.
	guardPatience = 30 * time.Second
)

// guardSweepLimit is what it has then for the folder, for which nobody waits.
const guardSweepLimit = time.Minute

// guardNice keeps a guard's start from taking time from the pool's items.
const guardNice = 5

// Guard is a small process that outlives its host if that is killed, for as long as it takes to end the host's families.
type Guard struct {
	cmd  *exec.Cmd
	pipe *os.File // its end is the guard's sign
	gone chan struct{}
}

// OpenGuard starts this program again as a guard of all families of a name, which also removes a folder. [Served] must be true.
func OpenGuard(n Name, folder string) (*Guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", // what runs, even if another file has taken its place
		Args: []string{"parhost-guard"},
		// A program that is built with the race detector would wait for a second before it exits.
		Env:        []string{envGuard + "=" + n.String() + ":" + folder, "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0"},
		Dir:        "/",
		ExtraFiles: []*os.File{r},
		// A guard that is stopped sees nothing end: it is to go on when its host dies.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGCONT},
	}
	if outer := os.Getenv(Env); outer != "" {
		cmd.Env = append(cmd.Env, Env+"="+outer)
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	// Here and not before the start, which would hold up other starts: there is a lock about them.
	_ = unix.Setpriority(unix.PRIO_PROCESS, cmd.Process.Pid, guardNice)
	g := &Guard{cmd: cmd, pipe: w, gone: make(chan struct{})}
	go func() {
		defer close(g.gone)
		_ = cmd.Wait()
	}()
	return g, nil
}

// PID is its process id.
func (g *Guard) PID() int { return g.cmd.Process.Pid }

// Gone is closed when it has ended.
func (g *Guard) Gone() <-chan struct{} { return g.gone }

// Close sends the guard home and waits until it is gone.
func (g *Guard) Close() {
	_, _ = g.pipe.Write([]byte{1})
	_ = g.pipe.Close()
	select {
	case <-g.gone:
	case <-time.After(guardLimit): // stopped, perhaps
		_ = g.cmd.Process.Kill()
		<-g.gone
	}
}

// RunGuard is the life of a guard, if this process is to be one. It reports whether it was.
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
	// What asks a group of processes to end asks its host too, who says when the guard may go.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	_ = os.WriteFile("/proc/self/comm", []byte("parhost-guard"), 0) // else it is called exe
	pipe := os.NewFile(guardPipe, "host")
	if _, err := pipe.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return true // it is not needed any more
	}
	for range 2 { // workers that end by themselves may have done something in between
		_, _ = Search{Name: n, Limit: guardPatience / 2}.End()
	}
	if folder != "" {
		ctx, cancel := context.WithTimeout(context.Background(), guardSweepLimit)
		defer cancel()
		_ = litter.Remove(ctx, folder)
	}
	return true
}
