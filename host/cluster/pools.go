package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
	"github.com/parhost/parhost/host/sandbox"
)

// pools are the pools of a node, one for each plugin with its settings. Jobs with the same ones share a pool.
type pools struct {
	n   *node
	dir string

	mu   sync.Mutex
	open map[string]*nodePool
}

// nodePool is a pool that is open, or is being opened.
type nodePool struct {
	key   string
	ready chan struct{} // closed when pool or trouble is set
	pool  *host.Pool
	fault *clusterpb.Trouble
	users int
	last  time.Time // when the last user left, or when the fault was found
}

const (
	mostPools = 8
	idlePool  = time.Minute      // after which a pool without batches is closed
	faultTime = 10 * time.Second // after which a pool is tried again that could not be opened
)

func newPools(n *node) (*pools, error) {
	p := &pools{n: n, dir: n.CacheDir, open: map[string]*nodePool{}}
	if p.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		p.dir = filepath.Join(cache, "parhost", "cluster")
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return nil, &ConfigError{"CacheDir", err.Error()}
	}
	return p, nil
}

// get returns the pool for a spec, and opens it if necessary, with the executable that a tenant has uploaded. It has to be put back.
func (p *pools) get(ctx context.Context, tenant string, spec *clusterpb.Spec) (*nodePool, *clusterpb.Trouble) {
	key := tenant + "/" + poolKey(spec) // tenants share no worker, for one could leave something behind in it
	p.mu.Lock()
	entry := p.open[key]
	if entry != nil && entry.users == 0 && (entry.fault != nil && time.Since(entry.last) > faultTime || entry.broken() != nil) {
		delete(p.open, key)
		entry = nil
	}
	if entry == nil {
		entry = &nodePool{key: key, ready: make(chan struct{})}
		p.open[key] = entry
		go p.fill(context.WithoutCancel(ctx), entry, tenant, spec)
	}
	entry.users++
	old := p.old()
	p.mu.Unlock()
	for _, o := range old {
		_ = o.pool.Close()
	}
	select {
	case <-entry.ready:
	case <-ctx.Done():
		p.put(entry)
		return nil, &clusterpb.Trouble{Kind: "start", Message: context.Cause(ctx).Error()}
	}
	if entry.fault != nil {
		p.put(entry)
		return nil, entry.fault
	}
	return entry, nil
}

// put says that a batch needs the pool no more.
func (p *pools) put(entry *nodePool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	entry.users--
	entry.last = time.Now()
}

// old takes out the pools that nobody has used for a while, and of too many the one that was used longest ago.
func (p *pools) old() (list []*nodePool) {
	take := func(o *nodePool) {
		delete(p.open, o.key)
		if o.pool != nil {
			list = append(list, o)
		}
	}
	var oldest *nodePool
	for _, o := range p.open {
		switch {
		case o.users > 0:
		case time.Since(o.last) > idlePool:
			take(o)
		case oldest == nil || o.last.Before(oldest.last):
			oldest = o
		}
	}
	if len(p.open) > mostPools && oldest != nil {
		take(oldest)
	}
	return list
}

// close closes all pools, whose batches have ended.
func (p *pools) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, o := range p.open {
		<-o.ready
		if o.pool != nil {
			_ = o.pool.Close()
		}
		delete(p.open, key)
	}
}

// broken says that the pool has given up.
func (o *nodePool) broken() *clusterpb.Trouble {
	if o.pool == nil {
		return nil
	}
	if broken := (*host.BrokenError)(nil); errors.As(o.pool.Err(), &broken) {
		return &clusterpb.Trouble{Kind: "start", Message: broken.Error()}
	}
	return nil
}

// fill opens a pool.
func (p *pools) fill(ctx context.Context, entry *nodePool, tenant string, spec *clusterpb.Spec) {
	defer close(entry.ready)
	entry.last = time.Now()
	cfg, trouble := p.config(ctx, tenant, spec)
	if trouble != nil {
		entry.fault = trouble
		return
	}
	pool, err := host.Open(ctx, cfg)
	switch {
	case errors.Is(err, sandbox.ErrNotSupported), errors.Is(err, sandbox.ErrNeedsFiles):
		entry.fault = &clusterpb.Trouble{Kind: "sandbox", Message: err.Error()}
	case err != nil:
		entry.fault = &clusterpb.Trouble{Kind: "start", Message: err.Error()}
	default:
		entry.pool = pool
	}
	entry.last = time.Now()
}

// config returns the config of a pool for a spec, or why this node does not run it.
func (p *pools) config(ctx context.Context, tenant string, spec *clusterpb.Spec) (cfg host.Config, trouble *clusterpb.Trouble) {
	refuse := func(kind, format string, args ...any) (host.Config, *clusterpb.Trouble) {
		return cfg, &clusterpb.Trouble{Kind: kind, Message: fmt.Sprintf(format, args...)}
	}
	if !compatible(p.n.c.version, spec.Version) {
		return refuse("version", "%s", versionProblem(p.n.c.version, spec.Version))
	}
	cfg, err := configOf(spec)
	if err != nil {
		return refuse("refused", "%v", err)
	}
	for _, entry := range cfg.Env {
		if name, _, _ := strings.Cut(entry, "="); !slices.Contains(p.n.AllowEnv, name) || strings.HasPrefix(name, "PARHOST_") {
			return refuse("refused", "its owner does not allow that jobs set the variable %q", name)
		}
	}
	var problem string
	if cfg.Sandbox, problem = stricter(p.n.Sandbox, cfg.Sandbox); problem != "" {
		return refuse("sandbox", "%s", problem)
	}
	cfg.Workers, cfg.Eager, cfg.TempDir = p.n.Slots, true, p.n.TempDir
	cfg.Logger = p.n.Logger.Named("pool")
	if spec.Plugin.Builtin {
		for _, w := range p.n.Workloads {
			if w.Manifest().Name == spec.Plugin.Name {
				cfg.Workload = w
				return cfg, nil
			}
		}
		return refuse("platform", "it has no workload %q linked in", spec.Plugin.Name)
	}
	sum := spec.Plugin.Sha256[thisPlatform]
	if sum == "" {
		sum = spec.Plugin.Sha256[anyPlatform]
	}
	if sum == "" {
		return refuse("platform", "%s", platformProblem(thisPlatform, spec.Plugin.Name))
	}
	path, refused, err := p.executable(ctx, tenant, spec.Plugin.Name, sum)
	switch {
	case refused != nil:
		return refuse("refused", "its owner does not allow plugin %q with the SHA-256 %s: %v", spec.Plugin.Name, sum, refused)
	case errors.Is(err, engine.ErrNotFound):
		return refuse("platform", "the cluster has no executable with the SHA-256 %s", sum)
	case err != nil:
		return refuse("start", "the executable with the SHA-256 %s: %v", sum, err)
	}
	cfg.Plugin, cfg.Checksum = path, sum
	return cfg, nil
}

// executable returns the path of an executable with the checksum, from the cache or from the cluster. The pool verifies what it executes.
func (p *pools) executable(ctx context.Context, tenant, name, sum string) (path string, refused, err error) {
	if !sumForm().MatchString(sum) {
		return "", nil, fmt.Errorf("%q is no SHA-256", sum)
	}
	if p.n.Allow == nil {
		return "", errNoneAllowed, nil
	}
	if refused := p.n.Allow(Executable{Name: name, SHA256: sum}); refused != nil {
		return "", refused, nil
	}
	path = filepath.Join(p.dir, sum, "parhost-plugin-"+pluginFile(name))
	if isFile(path) {
		if got, err := sandbox.Checksum(path); err == nil && got == sum {
			return path, nil, nil
		}
	}
	content, err := p.n.c.engine.Blob(ctx, tenant, sum)
	if err != nil {
		return "", nil, err
	}
	return path, nil, keepFile(path, content)
}

var errNoneAllowed = errors.New("it runs none that was uploaded")

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// keepFile writes a file in one step.
func keepFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o700), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

// stricter returns a policy that holds what both ask for. It says what the job may not have.
func stricter(owner, job sandbox.Policy) (p sandbox.Policy, problem string) {
	p = job
	p.Level = max(owner.Level, job.Level)
	p.MemoryBytes = least(owner.MemoryBytes, job.MemoryBytes)
	p.CPUs = least(owner.CPUs, job.CPUs)
	p.PIDs = least(owner.PIDs, job.PIDs)
	p.TmpBytes = least(owner.TmpBytes, job.TmpBytes)
	p.OpenFiles = least(owner.OpenFiles, job.OpenFiles)
	p.FileBytes = least(owner.FileBytes, job.FileBytes)
	p.ReadOnly, p.ReadWrite = owner.ReadOnly, owner.ReadWrite
	p.CgroupParent, p.TempDir, p.UIDBase = owner.CgroupParent, owner.TempDir, owner.UIDBase
	if owner.Level > sandbox.Off {
		switch {
		case job.AllowNet && !owner.AllowNet:
			return p, "the job asks for the network, which the node's owner does not allow"
		case job.AllowFork && !owner.AllowFork:
			return p, "the job asks to start processes, which the node's owner does not allow"
		}
		if job.Level == sandbox.Off {
			p.AllowNet, p.AllowFork = owner.AllowNet, owner.AllowFork
		}
	}
	return p, ""
}

// least returns the smaller of two limits, of which 0 is none.
func least[N int | int64 | float64](a, b N) N {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
