package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/sdk"
)

// NodeConfig says what this machine offers. A field that is zero has the default that its comment states.
type NodeConfig struct {
	// Name is the node's, 1 to 64 letters, digits, "-" and "_". Default: the name of the machine and the number of the process.
	Name string
	// Pool is the group of nodes to which it belongs. Default "default".
	Pool string
	// Slots is how many batches the node runs at once, and how many workers the pool of each plugin has, by the rule of [host.CountWorkers]. Default -1, one for
	// each CPU.
	Slots int
	// Workloads are linked into this program, whose main begins with sdk.ServeChild. Jobs may name them.
	Workloads []sdk.AnyWorkload
	// Allow decides whether the node runs an executable that a submitter has uploaded. It returns the reason why not. Default: it runs none.
	Allow func(Executable) error
	// AllowEnv are the names of variables that jobs may set for their workers. Default: none, for a variable can make an interpreter run whatever it says.
	AllowEnv []string
	// Sandbox is the least that confines each worker. A job may ask for more.
	Sandbox sandbox.Policy
	// CacheDir keeps executables between runs. Default: a folder in the user's cache.
	CacheDir string
	// TempDir is host.Config's.
	TempDir string
	// Grace is how long batches may still take when the node leaves. What has not ended by then goes to other nodes. Default 30 s.
	Grace time.Duration
	// Logger gets what the node does, and what the pools and workloads log. Default: discards it.
	Logger hclog.Logger
}

// Executable is a plugin that a submitter has uploaded.
type Executable struct {
	Name   string // as the submitter calls it
	SHA256 string // of its content, in hexadecimal
}

// node runs batches of a cluster.
type node struct {
	NodeConfig
	c     *Cluster
	pools *pools
	alone sync.RWMutex // held by each batch that runs, and by one that nodes have died of as its only one
	busy  atomic.Int32
	ran   atomic.Int64
	since time.Time

	mu       sync.Mutex
	leaving  bool
	jobs     map[engine.JobKey]*known
	troubles map[engine.JobKey]*clusterpb.Trouble
	changed  chan struct{} // has a value when the node has something new to say of itself
}

// Serve makes this machine a node, until ctx ends. Then the node takes no more batches, and those that it has may end, within Grace.
//
// The error is a [*ConfigError] for a config that cannot be used, and one that matches [ErrRefused] if the server refuses what a node does. It is nil if ctx
// ended.
func (c *Cluster) Serve(ctx context.Context, cfg NodeConfig) error {
	n, err := c.newNode(cfg)
	if err != nil {
		return err
	}
	return n.serve(ctx)
}

func (c *Cluster) newNode(cfg NodeConfig) (*node, error) {
	if cfg.Pool == "" {
		cfg.Pool = "default"
	}
	if cfg.Name == "" {
		cfg.Name = nodeName()
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Grace == 0 {
		cfg.Grace = 30 * time.Second
	}
	if cfg.Slots == 0 {
		cfg.Slots = -1
	}
	var err error
	if cfg.Slots, err = host.CountWorkers(cfg.Slots); err != nil {
		return nil, &ConfigError{"Slots", err.Error()}
	}
	for name, word := range map[string]string{"Name": cfg.Name, "Pool": cfg.Pool} {
		if !wordForm().MatchString(word) {
			return nil, &ConfigError{name, fmt.Sprintf("%q is not 1 to 64 letters, digits, - and _", word)}
		}
	}
	n := &node{
		NodeConfig: cfg, c: c, since: time.Now(), jobs: map[engine.JobKey]*known{}, troubles: map[engine.JobKey]*clusterpb.Trouble{}, changed: make(chan struct{}, 1),
	}
	n.pools, err = newPools(n)
	return n, err
}

// nodeName returns a name by which people recognise the machine.
func nodeName() string {
	machine, _ := os.Hostname()
	word := make([]byte, 0, len(machine))
	for _, b := range []byte(machine) {
		if wordForm().Match([]byte{b}) {
			word = append(word, b)
		} else {
			word = append(word, '-')
		}
	}
	return fmt.Sprintf("%s-%d", word[:min(len(word), 48)], os.Getpid())
}

func (n *node) serve(ctx context.Context) error {
	stop, err := n.c.engine.Listen("", n.heard)
	if err != nil {
		return err
	}
	defer stop()
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // of the node itself
	defer end()
	work, kill := context.WithCancelCause(life) // of what runs
	defer kill(nil)
	var telling, slots sync.WaitGroup
	telling.Go(func() { n.tell(life) })
	refused := make(chan error, n.Slots)
	leasing, leave := context.WithCancel(ctx)
	defer leave()
	for range n.Slots {
		slots.Go(func() {
			if err := n.slot(leasing, work); err != nil {
				refused <- err
				leave()
			}
		})
	}
	<-leasing.Done()
	n.mu.Lock()
	n.leaving = true
	n.mu.Unlock()
	n.speak()
	late := time.AfterFunc(n.Grace, func() { kill(errLeaving) })
	slots.Wait()
	late.Stop()
	n.pools.close()
	end()
	telling.Wait()
	goodbye, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.c.engine.RemoveNode(goodbye, n.Name)
	select {
	case err := <-refused:
		return err
	default:
		return nil
	}
}

var errLeaving = errors.New("the node leaves")

// slot runs one batch after the other.
func (n *node) slot(leasing, work context.Context) error {
	for {
		l, err := n.c.engine.Lease(leasing, n.Pool)
		if leasing.Err() != nil {
			if l != nil {
				_ = l.GiveBack(0)
			}
			return nil
		}
		if err != nil {
			return err
		}
		n.busy.Add(1)
		n.run(work, l)
		n.busy.Add(-1)
	}
}
