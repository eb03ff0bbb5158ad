package carrier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// streamsOf returns the streams that a tenant's jobs need. Only that of the results is the tenant's own. None of them accepts Nats-Rollup.
func streamsOf(tenant string, replicas int) []jetstream.StreamConfig {
	bucket := func(name string, storage jetstream.StorageType, age time.Duration) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: bucketStream + name, Subjects: []string{bucketSubject + name + ".>"}, Storage: storage, Replicas: replicas, Discard: jetstream.DiscardNew,
			MaxMsgsPerSubject: 1, MaxAge: age, AllowDirect: true, DenyDelete: true, Duplicates: time.Second,
		}
	}
	first := func(name, subject string, age time.Duration) jetstream.StreamConfig { // keeps the first message of each subject
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage, Replicas: replicas, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
			MaxMsgsPerSubject: 1, MaxAge: age, AllowDirect: true, Duplicates: time.Second,
		}
	}
	work := first(workStream, workPrefix+">", keepResults) // a submitter that lives offers again what has gone
	// No limit of bytes: the server would set them aside, and refuse the stream where the disk has less. The windows of the submitters bound what waits.
	work.Retention, work.MaxMsgs, work.AllowDirect = jetstream.WorkQueuePolicy, 1<<20, false
	return []jetstream.StreamConfig{
		work,
		first(resultsName+tenant, resultPrefix+tenant+".>", keepResults),
		first(dataStream, dataSubject+">", keepResults),
		first(codeStream, codeSubject+">", keepCode), // a submitter that needs it later uploads it again
		bucket(jobsBucket, jetstream.FileStorage, 7*24*time.Hour),
		bucket(nodesBucket, jetstream.MemoryStorage, nodeTime),
		bucket(triesBucket, jetstream.MemoryStorage, time.Hour),
	}
}

// MissingError says that a stream is not there, and that this connection may not make it.
type MissingError struct{ Stream, Tenant string }

func (e *MissingError) Error() string {
	cure := "start the server with its list of users, or connect once with an operator's key"
	if e.Tenant != "" {
		cure = fmt.Sprintf("start the server with tenant %q in its list of users, or connect once as that tenant with an operator's key", e.Tenant)
	}
	return fmt.Sprintf("stream %s is not there, and this key may not make it: %s", e.Stream, cure)
}

// bind makes the streams that are not there. A restricted connection only looks whether there are those that it can see.
func (c *Carrier) bind(ctx context.Context) error {
	if c.restricted {
		return c.look(ctx)
	}
	return c.Make(ctx, c.tenant)
}

// Make makes the streams of a tenant that are not there.
func (c *Carrier) Make(ctx context.Context, tenant string) error {
	replicas := 1
	if c.nc.ConnectedClusterName() != "" { // as long as fewer than three servers are there, the server refuses, and this is tried again
		replicas = 3
	}
	for _, cfg := range streamsOf(tenant, replicas) {
		err := c.exists(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			_, err = c.js.CreateStream(ctx, cfg)
		}
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // else another client was faster
			return wrap("stream "+cfg.Name, err)
		}
	}
	return nil
}

// exists asks for a stream. It does not wait for long: servers that have no leader drop the question, and it is asked again.
func (c *Carrier) exists(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, existsTime)
	defer cancel()
	_, err := c.js.Stream(ctx, name)
	return err
}

const existsTime = time.Second

// remake makes the streams that are gone, if err says that one does not answer: a server that was restarted has none of those that it held in memory. It leaves
// to the caller to try again. A stream whose servers elect a leader does not answer either, so this is done once in a while, and by one caller.
func (c *Carrier) remake(ctx context.Context, err error) {
	silent := errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
	if !silent || c.restricted || !c.remaking.TryLock() {
		return
	}
	defer c.remaking.Unlock()
	if time.Since(c.remade) < remakeTime {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := c.bind(ctx); err != nil {
		c.log.Debug("streams that are gone could not be made", "err", err)
	}
	c.remade = time.Now()
}

const remakeTime = time.Second

// look finds out whether the streams are there, by asking for a message that nobody stores. All streams are made together, so one will do: for a node one
// that is every tenant's, and for a submitter the one of its results.
func (c *Carrier) look(ctx context.Context) error {
	missing, subject := &MissingError{resultsName + c.tenant, c.tenant}, resultPrefix+c.tenant+".-.0"
	if c.isNode {
		missing, subject = &MissingError{Stream: codeStream}, codeSubject+"-.-.0"
	}
	for began := time.Now(); ; {
		_, err := c.last(ctx, missing.Stream, subject)
		switch {
		case errors.Is(err, engine.ErrNotFound):
			return nil
		case errors.Is(err, nats.ErrPermissionViolation):
			return fmt.Errorf("the key is not one of tenant %q: %w", c.tenant, err)
		case !errors.Is(err, nats.ErrNoResponders):
			return wrap("stream "+missing.Stream, err)
		case time.Since(began) > missingTime:
			return missing
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// missingTime is how long a stream may not answer before it counts as missing. One whose servers elect a leader does not answer either.
const missingTime = 3 * time.Second
