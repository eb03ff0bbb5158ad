package cluster

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// JobConfig says what a job runs. A field that is zero has the default that its comment states.
type JobConfig struct {
	// ID names the job: 1 to 64 letters, digits, "-" and "_". A job whose ID exists already is attached to: items whose results are stored do not run again.
	// Its results stay for a day. Default: a random one, whose results are removed when the job ends.
	ID string
	// Pool names the nodes that run the job: those whose NodeConfig.Pool is the same. Default "default".
	Pool string
	// Config says which plugin or workload runs, and how, as for [host.Open]. Of a Workload, nodes run their own of the same name. Workers, MinWorkers, Standby,
	// Eager, Window, TempDir, Inline and BufferBytes are the nodes' own. Batch is the number of items in a batch of the job; by default it follows the time
	// that items take. The job reports to Observer and Logger. Fields that cannot travel are an error.
	Config host.Config
	// Plugins are executables of the plugin for other platforms, by path.
	Plugins []string
	// Seed determines the random numbers of the items, see [host.WithSeed]. Default: the seed of the job that is attached to, or a random one.
	Seed *uint64
	// Metadata reaches the workload, see [host.WithMetadata].
	Metadata map[string]string
}

// Job is a job of this submitter.
type Job struct {
	c        *Cluster
	key      engine.JobKey
	pool     string
	cfg      host.Config
	spec     *clusterpb.Spec
	named    bool // the user gave the ID
	entry    *clusterpb.Job
	revision uint64        // of the entry
	stopping chan struct{} // closed by Stop
	slots    atomic.Int64
}

// Open makes a job, or attaches to the one of this ID. It uploads executables that the cluster does not have.
//
// The error is a [*ConfigError] for a config that cannot be used, an [*OtherJobError] if the job of this ID runs something else, and one that matches
// host.ErrNotFound if there is no such plugin.
func (c *Cluster) Open(ctx context.Context, cfg JobConfig) (*Job, error) {
	if cfg.Pool == "" {
		cfg.Pool = "default"
	}
	j := &Job{c: c, pool: cfg.Pool, cfg: cfg.Config, named: cfg.ID != "", stopping: make(chan struct{})}
	if !j.named {
		cfg.ID = strings.ToLower(rand.Text()[:12])
	}
	j.key = engine.JobKey{Tenant: c.tenant, Job: cfg.ID}
	for name, word := range map[string]string{"ID": cfg.ID, "Pool": cfg.Pool} {
		if !wordForm().MatchString(word) {
			return nil, &ConfigError{name, fmt.Sprintf("%q is not 1 to 64 letters, digits, - and _", word)}
		}
	}
	var err error
	seed := mathrand.Uint64N(1 << 53) // 53 bits, which every JSON reader keeps exactly
	if cfg.Seed != nil {
		seed = *cfg.Seed
	}
	if j.spec, err = specOf(&cfg.Config, c.version, seed); err != nil {
		return nil, err
	}
	j.spec.Metadata = cfg.Metadata
	var contents map[string][]byte
	if j.spec.Plugin, contents, err = pluginOf(&cfg); err != nil {
		return nil, err
	}
	made, err := j.register(ctx, cfg.Seed == nil)
	if err != nil {
		return nil, err
	}
	for sum, content := range contents {
		there, err := c.engine.HasBlob(ctx, c.tenant, sum)
		if err == nil && !there {
			c.log.Info("uploading a plugin", "name", j.spec.Plugin.Name, "bytes", len(content), "sha256", sum)
			err = c.engine.PutBlob(ctx, c.tenant, sum, content)
		}
		if err != nil {
			if made { // one that was there before keeps what it has
				j.Forget(context.WithoutCancel(ctx))
			}
			return nil, fmt.Errorf("upload plugin %q: %w", j.spec.Plugin.Name, err)
		}
	}
	return j, nil
}

// pluginOf returns how nodes find the plugin, and the executables by their checksums.
func pluginOf(cfg *JobConfig) (*clusterpb.Plugin, map[string][]byte, error) {
	if w := cfg.Config.Workload; w != nil {
		return &clusterpb.Plugin{Name: w.Manifest().Name, Builtin: true}, nil, nil
	}
	path, err := host.Find(cfg.Config.Plugin, cfg.Config.PluginDirs...)
	if err != nil {
		return nil, nil, err
	}
	p := &clusterpb.Plugin{Name: pluginName(path), Workload: cfg.Config.PluginWorkload, Sha256: map[string]string{}}
	contents := map[string][]byte{}
	for i, path := range append([]string{path}, cfg.Plugins...) {
		content, err := readPlugin(path)
		if err != nil {
			return nil, nil, err
		}
		sum := sha256.Sum256(content)
		name := hex.EncodeToString(sum[:])
		if i == 0 && cfg.Config.Checksum != "" && !strings.EqualFold(cfg.Config.Checksum, name) {
			return nil, nil, &ConfigError{"Config.Checksum", fmt.Sprintf("%s has the SHA-256 %s, and not %s", path, name, cfg.Config.Checksum)}
		}
		platform, err := platformOf(content)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if other := p.Sha256[platform]; other != "" && other != name {
			return nil, nil, &ConfigError{"Plugins", fmt.Sprintf("%s is a second executable for %s", path, platform)}
		}
		p.Sha256[platform], contents[name] = name, content
	}
	return p, contents, nil
}

// pluginName returns the name of a plugin by that of its file.
func pluginName(path string) string {
	return strings.TrimPrefix(strings.TrimSuffix(filepath.Base(path), ".exe"), "parhost-plugin-")
}

// register writes the job's entry, or finds the one that is there. made says which.
func (j *Job) register(ctx context.Context, anySeed bool) (made bool, err error) {
	name, _ := os.Hostname()
	j.entry = &clusterpb.Job{
		Spec: j.spec, Pool: j.pool, State: clusterpb.State_STATE_RUNNING, CreatedUnixNs: uint64(time.Now().UnixNano()),
		SeenUnixNs: uint64(time.Now().UnixNano()), Submitter: fmt.Sprintf("%s/%d", name, os.Getpid()),
	}
	body, err := proto.Marshal(j.entry)
	if err != nil {
		return false, err
	}
	revision, err := j.c.engine.PutJob(ctx, j.key, body, 0)
	if !errors.Is(err, engine.ErrConflict) {
		j.revision = revision
		return err == nil, err
	}
	body, revision, err = j.c.engine.Job(ctx, j.key)
	if err != nil {
		return false, err
	}
	var was clusterpb.Job
	if err := proto.Unmarshal(body, &was); err != nil {
		return false, fmt.Errorf("the entry of job %q: %w", j.key.Job, err)
	}
	if anySeed {
		j.spec.Seed = was.Spec.GetSeed()
	}
	what := differences(j.spec, was.Spec)
	switch {
	case was.State == clusterpb.State_STATE_CANCELED:
		return false, fmt.Errorf("job %q: %w", j.key.Job, ErrCanceled)
	case was.Pool != j.pool:
		what = fmt.Sprintf("pool %q", was.Pool)
	}
	if what != "" {
		return false, &OtherJobError{Job: j.key.Job, What: what}
	}
	j.spec, j.entry.CreatedUnixNs, j.revision = was.Spec, was.CreatedUnixNs, revision
	return false, nil
}

// ID returns the job's name.
func (j *Job) ID() string { return j.key.Job }

// Plugin returns the name of what the job runs.
func (j *Job) Plugin() string { return j.spec.Plugin.Name }

// Seed returns the seed of the items' random numbers.
func (j *Job) Seed() uint64 { return j.spec.Seed }

// Slots returns the largest number of slots that the nodes of the job's pool have had since the stream began.
func (j *Job) Slots() int { return int(j.slots.Load()) }

// Stop makes the job's stream begin no more items: what waits in the queue is taken back, and batches that nodes have end. It may be called once.
//
// A submitter whose key is not an operator's cannot take batches back. Of a job with an ID they run, and their results wait for whoever attaches to it. Of any
// other job, nodes drop them.
func (j *Job) Stop() { close(j.stopping) }

// Forget removes what the cluster holds of the job: what waits, results, and its entry.
func (j *Job) Forget(ctx context.Context) {
	err := j.c.engine.RemoveJob(ctx, j.key) // before the word: a node that hears it and gets another batch finds no job
	_ = j.c.engine.Tell(j.key, wordCancel)
	if err = errors.Join(err, j.c.engine.Remove(ctx, j.pool, j.key, true)); err != nil {
		j.c.log.Warn("what the cluster holds of a job could not be removed; it goes by itself after a day", "job", j.key.Job, "err", err)
	}
}

// wordCancel tells nodes that a job is canceled.
const wordCancel = "cancel"
