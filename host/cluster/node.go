package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/protocol"
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

// known is a job that the node has met.
type known struct {
	spec    *clusterpb.Spec
	created uint64
	met     time.Time
	batches int           // that the node has of it; guarded by node.mu
	over    chan struct{} // closed when the job is canceled
	end     func()        // closes over
}

// canceled reports whether somebody has canceled the job.
func (k *known) canceled() bool {
	select {
	case <-k.over:
		return true
	default:
		return false
	}
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

// run runs a batch, stores its results, and removes it from the queue; or it gives the batch back.
func (n *node) run(ctx context.Context, l engine.Lease) {
	begun, key := time.Now(), l.Key()
	defer n.beat(l)()
	log := n.Logger.With("job", key.Job, "first", key.First)
	body, err := l.Body(ctx)
	if errors.Is(err, engine.ErrNotFound) { // it lay outside of the message, and is gone: its submitter offers it again
		log.Warn("a batch is dropped, because its items are gone")
		_ = l.Drop()
		return
	}
	if err != nil {
		log.Warn("a batch cannot be read", "err", err)
		n.giveBack(l, time.Second)
		return
	}
	created, first, items, err := decodeBatch(body)
	if err != nil || first != key.First {
		log.Warn("a batch is dropped, because it is none", "err", err)
		_ = l.Drop()
		return
	}
	j, err := n.job(ctx, key.JobKey, created)
	switch {
	case errors.Is(err, engine.ErrNotFound), err == nil && j.canceled(): // the job is gone
		_ = l.Drop()
		return
	case err != nil:
		log.Debug("the entry of a job cannot be read", "err", err)
		n.giveBack(l, time.Second)
		return
	}
	n.count(j, 1)
	defer n.count(j, -1)
	attempt, take := l.Deliveries(), len(items)
	if attempt > 1 {
		if done, err := n.c.engine.HasResult(ctx, key); err == nil && done {
			_ = l.Drop()
			return
		}
	}
	p, trouble := n.pools.get(ctx, key.Tenant, j.spec)
	if n.note(key.JobKey, trouble); trouble != nil {
		n.giveBack(l, unfitDelay)
		return
	}
	defer n.pools.put(p)
	unlock, tries, err := n.begin(ctx, key, attempt)
	if err != nil {
		n.giveBack(l, time.Second)
		return
	}
	defer unlock()
	var results []result
	if tries > 0 {
		if take = share(len(items), tries); take == 0 {
			take, results = 1, blamed(tries)
		}
	}
	if results == nil {
		results, err = n.items(ctx, j, p.pool, key, attempt, items[:take])
	}
	if err != nil && j.canceled() {
		_ = l.Drop()
		return
	}
	if err != nil {
		log.Debug("a batch is given back", "err", err)
		if tries > 0 {
			n.outlived(key)
		}
		if broken := p.broken(); broken != nil {
			n.note(key.JobKey, broken)
			n.giveBack(l, unfitDelay)
			return
		}
		n.giveBack(l, 0)
		return
	}
	text, err := encodeResults(n.Name, first, items, results, time.Since(begun))
	if err != nil {
		log.Warn("results cannot be sent", "err", err)
		n.giveBack(l, time.Second)
		return
	}
	n.store(ctx, l, engine.Result{Key: key, Items: len(results), Body: text})
	n.ran.Add(int64(len(results)))
}

// unfitDelay is for how long a batch stays away that this node cannot run.
const unfitDelay = 2 * time.Second

// begin counts the tries of a batch that was given to a node before, and waits until the batch may run. One that was begun again, and is here once more, runs
// alone, because the next node that dies of it must not leave others under suspicion: they would be counted just the same.
func (n *node) begin(ctx context.Context, key engine.Key, attempt int) (unlock func(), tries int, err error) {
	lock := n.alone.RLocker()
	if attempt > 1 {
		begun, err := n.c.engine.Begun(ctx, key)
		if err != nil {
			return nil, 0, err
		}
		if begun > 0 {
			lock = &n.alone
		}
	}
	lock.Lock()
	if attempt > 1 {
		if tries, err = n.c.engine.Begin(ctx, key); err != nil {
			lock.Unlock()
			return nil, 0, err
		}
	}
	return lock.Unlock, tries, nil
}

// outlived takes a try back that did not end the node. If that fails, the batch is under more suspicion than it should be.
func (n *node) outlived(key engine.Key) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := n.c.engine.Outlived(ctx, key); err != nil {
		n.Logger.Debug("a try could not be taken back", "job", key.Job, "first", key.First, "err", err)
	}
}

// share returns how many items of a batch to run at the given try, after nodes have died of it: half as many each time, until one item is left. That one
// gets two tries alone, and 0 says that it has had them.
func share(items, tries int) int {
	half := items >> max(0, tries-1)
	if half == 0 && tries > max(bits.Len(uint(items))+1, 3) {
		return 0
	}
	return max(1, half)
}

// blamed is the result of an item that several nodes have died of.
func blamed(tries int) []result {
	return []result{{Attempts: tries, Err: &host.ItemError{
		Kind: protocol.KindCrashed, Attempts: tries, ExitCode: -1,
		Message: fmt.Sprintf("the node that ran it was gone before it ended, %d times", tries),
	}}}
}

// items runs items of a batch. The error says that not all of them have an outcome.
func (n *node) items(ctx context.Context, j *known, pool *host.Pool, key engine.Key, attempt int, items []json.RawMessage) ([]result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-j.over:
			cancel(ErrCanceled)
		case <-ended:
		}
	}()
	ctx = host.WithSeed(ctx, j.spec.Seed)
	ctx = host.WithIndex(ctx, func(i int) int { return int(key.First) + i })
	metadata := maps.Clone(j.spec.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[MetadataBatch] = fmt.Sprintf("%s/%d/%d", key.Job, key.First, attempt)
	ctx = host.WithMetadata(ctx, metadata)
	results := make([]result, 0, len(items))
	for r, err := range host.BindJSON[json.RawMessage, json.RawMessage](pool).Stream(ctx, slices.Values(items)) {
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if ctx.Err() != nil { // items of it have ended as canceled
		return nil, context.Cause(ctx)
	}
	return results, nil
}

// MetadataBatch is the key under which a workload finds JOB/FIRST/ATTEMPT, by sdk.Metadata: which batch of which job its item belongs to, and how often the batch
// was given to a node. A workload with effects outside can tell by it what it may have done before.
const MetadataBatch = "parhost-batch"

// beat extends a lease until the returned function is called.
func (n *node) beat(l engine.Lease) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(n.c.engine.LeaseTime() / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = l.Extend() // one that is lost is followed by others
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// store stores results, for as long as the servers are away.
func (n *node) store(ctx context.Context, l engine.Lease, r engine.Result) {
	began, warned := time.Now(), false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := l.Store(ctx, r)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.Logger.Debug("a result could not be stored", "job", r.Key.Job, "first", r.Key.First, "err", err)
		if !warned && time.Since(began) > quiet {
			warned = true
			n.Logger.Warn("results cannot be stored; it is tried again until they are", "job", r.Key.Job, "first", r.Key.First, "err", err)
		}
		if errors.Is(err, engine.ErrRefused) {
			n.Logger.Warn("the server refuses a result", "job", r.Key.Job, "first", r.Key.First, "err", err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (n *node) giveBack(l engine.Lease, delay time.Duration) {
	_ = l.GiveBack(delay) // if it is lost, the lease ends by itself
}

func (n *node) count(j *known, batches int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	j.batches += batches
}

// job returns what the registry says of a job that was made at a time.
func (n *node) job(ctx context.Context, key engine.JobKey, created uint64) (*known, error) {
	n.mu.Lock()
	j := n.jobs[key]
	n.mu.Unlock()
	if j != nil && j.created == created && time.Since(j.met) < trusted && !j.canceled() {
		return j, nil
	}
	body, _, err := n.c.engine.Job(ctx, key)
	if err != nil {
		return nil, err
	}
	var entry clusterpb.Job
	if err := proto.Unmarshal(body, &entry); err != nil {
		return nil, err
	}
	if entry.CreatedUnixNs != created || entry.State == clusterpb.State_STATE_CANCELED || entry.Spec.GetPlugin() == nil {
		return nil, engine.ErrNotFound
	}
	j = &known{spec: entry.Spec, created: created, met: time.Now()}
	over := make(chan struct{})
	j.over, j.end = over, sync.OnceFunc(func() { close(over) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if was := n.jobs[key]; was != nil {
		if was.created == created && !was.canceled() {
			was.met = time.Now()
			return was, nil
		}
		was.end()
	}
	n.jobs[key] = j
	n.forgetOld()
	return j, nil
}

// trusted is for how long the node takes it that a job is as it was.
const trusted = 5 * time.Second

// mostJobs is how many jobs a node remembers.
const mostJobs = 1000

func (n *node) forgetOld() {
	for len(n.jobs) > mostJobs {
		var oldest engine.JobKey
		for key, j := range n.jobs {
			if o := n.jobs[oldest]; o == nil || j.met.Before(o.met) {
				oldest = key
			}
		}
		delete(n.jobs, oldest)
		delete(n.troubles, oldest)
	}
}

// heard acts on a word about a job.
func (n *node) heard(job engine.JobKey, word string) {
	if word != wordCancel {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if j := n.jobs[job]; j != nil {
		j.end()
		delete(n.jobs, job)
		delete(n.troubles, job)
	}
}

// note remembers why the node cannot run a job, or that it can.
func (n *node) note(job engine.JobKey, t *clusterpb.Trouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.troubles[job]
	if t == nil {
		if was != nil {
			delete(n.troubles, job)
			n.speak()
		}
		return
	}
	t = proto.CloneOf(t)
	t.Tenant, t.Job, t.Message = job.Tenant, job.Job, bound.Text(t.Message, mostMessage) // all of them have to fit into the node's entry
	if proto.Equal(t, was) {
		return
	}
	n.Logger.Warn("this node does not run a job", "job", job.Job, "reason", t.Message)
	n.troubles[job] = t
	n.speak()
}

// speak makes the node say something of itself at once.
func (n *node) speak() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// presence is how often a node says that it is there.
const presence = 3 * time.Second

// mostMessage is how many bytes of a reason the node's entry has.
const mostMessage = 4 << 10

// mostTroubles is how many jobs a node names that it cannot run.
const mostTroubles = 100

// tell writes the node's entry until ctx ends.
func (n *node) tell(ctx context.Context) {
	tick := time.NewTicker(presence)
	defer tick.Stop()
	for ctx.Err() == nil {
		n.mu.Lock()
		entry := &clusterpb.Node{
			Name: n.Name, Version: n.c.version, Platform: thisPlatform, Pool: n.Pool, Slots: uint32(n.Slots), Busy: uint32(n.busy.Load()),
			Leaving: n.leaving, Items: uint64(n.ran.Load()), SinceUnixNs: uint64(n.since.UnixNano()),
		}
		for _, t := range n.troubles {
			if entry.Troubles = append(entry.Troubles, t); len(entry.Troubles) == mostTroubles {
				break
			}
		}
		n.mu.Unlock()
		if body, err := proto.Marshal(entry); err == nil {
			if err := n.c.engine.PutNode(ctx, n.Name, body); err != nil && ctx.Err() == nil {
				n.Logger.Debug("the node's entry could not be written", "err", err)
			}
		}
		select {
		case <-tick.C:
			n.checkJobs(ctx)
		case <-n.changed:
		case <-ctx.Done():
		}
	}
}

// checkJobs looks whether the jobs that the node runs are still there, because the word that a job is canceled can be lost.
func (n *node) checkJobs(ctx context.Context) {
	n.mu.Lock()
	running := map[engine.JobKey]*known{}
	for key, j := range n.jobs {
		if j.batches > 0 {
			running[key] = j
		}
	}
	n.mu.Unlock()
	for key, j := range running {
		body, _, err := n.c.engine.Job(ctx, key)
		var entry clusterpb.Job
		switch {
		case errors.Is(err, engine.ErrNotFound):
		case err != nil || proto.Unmarshal(body, &entry) != nil:
			continue
		case entry.CreatedUnixNs == j.created && entry.State != clusterpb.State_STATE_CANCELED:
			continue
		}
		j.end()
	}
}
