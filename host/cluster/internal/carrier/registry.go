package carrier

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

func nameOf(job engine.JobKey) string { return job.Tenant + "." + job.Job }

// PutJob implements [engine.Registry].
func (c *Carrier) PutJob(ctx context.Context, job engine.JobKey, body []byte, revision uint64) (uint64, error) {
	now, err := c.jobs.put(ctx, nameOf(job), body, &revision)
	if errors.Is(err, engine.ErrConflict) && revision == 0 { // it may be one that was removed, whose marker has a revision
		_, removed, getErr := c.jobs.get(ctx, nameOf(job))
		if errors.Is(getErr, engine.ErrNotFound) && removed > 0 {
			return c.jobs.put(ctx, nameOf(job), body, &removed)
		}
	}
	return now, err
}

// Job implements [engine.Registry].
func (c *Carrier) Job(ctx context.Context, job engine.JobKey) (body []byte, revision uint64, err error) {
	return c.jobs.get(ctx, nameOf(job))
}

// Jobs implements [engine.Registry].
func (c *Carrier) Jobs(ctx context.Context, tenant string) (map[engine.JobKey][]byte, error) {
	entries, err := c.jobs.all(ctx, tenant+".*")
	found := map[engine.JobKey][]byte{}
	for name, body := range entries {
		t, job, _ := strings.Cut(name, ".")
		found[engine.JobKey{Tenant: t, Job: job}] = body
	}
	return found, err
}

// RemoveJob implements [engine.Registry].
func (c *Carrier) RemoveJob(ctx context.Context, job engine.JobKey) error {
	return c.jobs.remove(ctx, nameOf(job))
}

// PutNode implements [engine.Registry].
func (c *Carrier) PutNode(ctx context.Context, name string, body []byte) error {
	_, err := c.nodes.put(ctx, name, body, nil)
	return err
}

// RemoveNode implements [engine.Registry].
func (c *Carrier) RemoveNode(ctx context.Context, name string) error {
	return c.nodes.remove(ctx, name)
}

// Nodes implements [engine.Registry].
func (c *Carrier) Nodes(ctx context.Context) (map[string][]byte, error) { return c.nodes.all(ctx, ">") }

// Begun implements [engine.Receiver].
func (c *Carrier) Begun(ctx context.Context, key engine.Key) (int, error) {
	n, _, err := c.begun(ctx, key)
	return n, err
}

// Begin implements [engine.Receiver].
func (c *Carrier) Begin(ctx context.Context, key engine.Key) (int, error) {
	return c.count(ctx, key, 1)
}

// Outlived implements [engine.Receiver].
func (c *Carrier) Outlived(ctx context.Context, key engine.Key) error {
	_, err := c.count(ctx, key, -1)
	return err
}

func tryName(key engine.Key) string {
	return nameOf(key.JobKey) + "." + strconv.FormatUint(key.First, 10)
}

func (c *Carrier) begun(ctx context.Context, key engine.Key) (n int, revision uint64, err error) {
	value, revision, err := c.tries.get(ctx, tryName(key))
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return 0, revision, nil
	case err != nil:
		return 0, 0, err
	}
	if n, err = strconv.Atoi(string(value)); err != nil {
		return 0, 0, fmt.Errorf("%s %s: %w", triesBucket, tryName(key), err)
	}
	return n, revision, nil
}

// count adds to how often a batch was begun.
func (c *Carrier) count(ctx context.Context, key engine.Key, more int) (int, error) {
	n, revision, err := c.begun(ctx, key)
	if err != nil {
		return 0, err
	}
	n = max(0, n+more)
	// Two nodes that begin the same batch at the same time count as one: the other's update is refused, which does no harm.
	if _, err = c.tries.put(ctx, tryName(key), []byte(strconv.Itoa(n)), &revision); errors.Is(err, engine.ErrConflict) {
		err = nil
	}
	return n, err
}

// Tell implements [engine.Registry].
func (c *Carrier) Tell(job engine.JobKey, word string) error {
	return said(c.nc.Publish(wordSubject+nameOf(job), []byte(word)))
}

// Listen implements [engine.Registry].
func (c *Carrier) Listen(tenant string, each func(job engine.JobKey, word string)) (stop func(), err error) {
	if tenant == "" {
		tenant = "*"
	}
	sub, err := c.nc.Subscribe(wordSubject+tenant+".*", func(m *nats.Msg) {
		t := strings.Split(m.Subject, ".")
		each(engine.JobKey{Tenant: t[2], Job: t[3]}, string(m.Data))
	})
	if err != nil {
		return nil, said(err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// HasBlob implements [engine.Blobs].
func (c *Carrier) HasBlob(ctx context.Context, tenant, sum string) (bool, error) {
	_, err := c.code.size(ctx, tenant, sum)
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// PutBlob implements [engine.Blobs].
func (c *Carrier) PutBlob(ctx context.Context, tenant, sum string, content []byte) error {
	return c.code.put(ctx, tenant, sum, content)
}

// Blob implements [engine.Blobs].
func (c *Carrier) Blob(ctx context.Context, tenant, sum string) ([]byte, error) {
	return c.code.get(ctx, tenant, sum)
}

// Backlog implements [engine.Engine].
func (c *Carrier) Backlog(ctx context.Context, pool string) (engine.Backlog, error) {
	cons, err := c.consumer(ctx, workStream, "w_"+pool)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && c.restricted:
		return engine.Backlog{}, fmt.Errorf("no node of pool %q was ever there, and only an operator sees what waits for it: %w", pool, engine.ErrRefused)
	case errors.Is(err, jetstream.ErrConsumerNotFound): // no node was ever there
		s, err := c.stream(ctx, workStream, jetstream.WithSubjectFilter(workPrefix+pool+".>"))
		if err != nil {
			return engine.Backlog{}, said(err)
		}
		return engine.Backlog{Waiting: len(s.CachedInfo().State.Subjects)}, nil
	case err != nil:
		return engine.Backlog{}, said(err)
	}
	info := cons.CachedInfo()
	return engine.Backlog{Waiting: int(info.NumPending), Leased: info.NumAckPending, Given: info.Delivered.Stream}, nil
}
