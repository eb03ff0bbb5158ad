package carrier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// Put implements [engine.Sender].
func (c *Carrier) Put(ctx context.Context, pool string, key engine.Key, body []byte) (uint64, error) {
	place, err := c.store(ctx, &nats.Msg{Subject: workSubject(pool, key), Header: nats.Header{}}, key.Tenant, body)
	if isFull(err) {
		return 0, engine.ErrFull
	}
	return place, err
}

// store publishes a message for a stream that keeps the first message of each subject, and returns its place there. If there is one already, the place is 0.
func (c *Carrier) store(ctx context.Context, m *nats.Msg, tenant string, body []byte) (uint64, error) {
	m.Data = body
	if len(body) > inline {
		sum := sha256.Sum256(body)
		name := hex.EncodeToString(sum[:])
		if err := c.data.put(ctx, tenant, name, body); err != nil {
			return 0, said(err)
		}
		m.Data = nil
		m.Header.Set(blobHeader, name)
	}
	place, err := c.publish(ctx, m)
	if isThere(err) {
		return 0, nil
	}
	return place, said(err)
}

// body returns the body of a tenant's message, wherever it is.
func (c *Carrier) body(ctx context.Context, tenant string, h nats.Header, data []byte) ([]byte, error) {
	name := h.Get(blobHeader)
	if name == "" {
		return data, nil
	}
	return c.data.get(ctx, tenant, name)
}

// Lookup implements [engine.Sender].
func (c *Carrier) Lookup(ctx context.Context, key engine.Key) (engine.Result, error) {
	m, err := c.last(ctx, resultsName+key.Tenant, resultSubject(key))
	if err != nil {
		return engine.Result{}, err
	}
	r := engine.Result{Key: key}
	if r.Items, err = itemsOf(m.Header); err != nil {
		return r, fmt.Errorf("%w: %w", engine.ErrUnreadable, err)
	}
	if r.Body, err = c.body(ctx, key.Tenant, m.Header, m.Data); errors.Is(err, engine.ErrNotFound) {
		err = fmt.Errorf("%w: a part of it is gone", engine.ErrUnreadable)
	}
	return r, err
}

// Discard implements [engine.Sender].
func (c *Carrier) Discard(ctx context.Context, key engine.Key) error {
	return said(c.purge(ctx, resultsName+key.Tenant, resultSubject(key)))
}

// HasResult implements [engine.Receiver].
func (c *Carrier) HasResult(ctx context.Context, key engine.Key) (bool, error) {
	_, err := c.last(ctx, resultsName+key.Tenant, resultSubject(key))
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func itemsOf(h nats.Header) (int, error) {
	n, err := strconv.ParseUint(h.Get(itemsHeader), 10, 24)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("a result has the header %s: %q, which is no number of items", itemsHeader, h.Get(itemsHeader))
	}
	return int(n), nil
}

// Stored implements [engine.Sender].
func (c *Carrier) Stored(ctx context.Context, job engine.JobKey, each func(engine.Result)) (cursor uint64, err error) {
	s, err := c.stream(ctx, resultsName+job.Tenant)
	if err != nil {
		return 0, said(err)
	}
	last := s.CachedInfo().State.LastSeq
	r := c.reader(job, 0, true)
	defer r.stop()
	for {
		m, left, err := r.next(ctx)
		switch {
		case errors.Is(err, errDrained):
			return last, nil
		case err != nil:
			return 0, err
		}
		if key, err := keyOf(m.Subject()); err == nil {
			if items, err := itemsOf(m.Headers()); err == nil {
				each(engine.Result{Key: key, Items: items})
			}
		}
		if left == 0 {
			return last, nil
		}
	}
}

// Follow implements [engine.Sender].
func (c *Carrier) Follow(ctx context.Context, job engine.JobKey, cursor uint64, each func(engine.Result)) error {
	r := c.reader(job, cursor, false)
	defer r.stop()
	for {
		m, _, err := r.next(ctx)
		if err != nil {
			return err
		}
		key, err := keyOf(m.Subject())
		if err != nil {
			continue // not of ours: the submitter looks the result up when it is overdue
		}
		items, err := itemsOf(m.Headers())
		if err != nil {
			continue
		}
		body, err := c.body(ctx, job.Tenant, m.Headers(), m.Data())
		if err != nil {
			c.log.Debug("a result cannot be read", "job", job.Job, "first", key.First, "err", err)
			continue
		}
		each(engine.Result{Key: key, Items: items, Body: body})
	}
}

// reader reads the results of a job. It makes its consumer itself, under a new name each time: the library's ordered consumer keeps asking for the same
// name, which a cluster holds for a server that has died, and then never ends.
type reader struct {
	c       *Carrier
	job     engine.JobKey
	cursor  uint64 // last sequence number that was read
	heads   bool
	it      jetstream.MessagesContext
	name    string
	created time.Time // of the stream: another time says that it was made anew, with sequence numbers from 1
}

func (c *Carrier) reader(job engine.JobKey, cursor uint64, heads bool) *reader {
	return &reader{c: c, job: job, cursor: cursor, heads: heads}
}

// errDrained says that there is nothing to list.
var errDrained = errors.New("no more results")

// next returns the next message, and how many more there are now.
func (r *reader) next(ctx context.Context) (jetstream.Msg, uint64, error) {
	for wait := time.Duration(0); ; wait = min(2*wait+10*time.Millisecond, time.Second) {
		if wait > 10*time.Millisecond {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		if r.it == nil {
			pending, err := r.open(ctx)
			switch {
			case err != nil && !transient(err):
				return nil, 0, said(err)
			case err != nil:
				r.c.log.Debug("results cannot be followed; it is tried again", "job", r.job.Job, "err", err)
				continue
			case r.heads && pending == 0:
				return nil, 0, errDrained
			}
		}
		m, err := r.it.Next(jetstream.NextContext(ctx))
		if err == nil {
			if md, err := m.Metadata(); err == nil {
				r.cursor = md.Sequence.Stream
				return m, md.NumPending, nil
			}
		}
		r.close()
	}
}

func (r *reader) open(ctx context.Context) (pending uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	name := resultsName + r.job.Tenant
	s, err := r.c.stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, errors.Join(err, r.c.bind(ctx))
	}
	if err != nil {
		return 0, err
	}
	if created := s.CachedInfo().Created; !created.Equal(r.created) {
		if !r.created.IsZero() || r.cursor > s.CachedInfo().State.LastSeq {
			r.cursor = 0
		}
		r.created = created
	}
	cons, err := r.c.reads(ctx, name, jetstream.ConsumerConfig{
		Name: "r_" + nuid.Next(), FilterSubject: resultPrefix + r.job.Tenant + "." + r.job.Job + ".*", AckPolicy: jetstream.AckNonePolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.cursor + 1,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second, HeadersOnly: r.heads,
	})
	if err != nil {
		return 0, err
	}
	r.name = cons.CachedInfo().Name
	r.it, err = cons.Messages(jetstream.PullMaxMessages(256), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	return cons.CachedInfo().NumPending, err
}

func (r *reader) close() {
	if r.it != nil {
		r.it.Stop()
		r.it = nil
	}
}

// stop also removes the consumer. The server would do so after a while.
func (r *reader) stop() {
	r.close()
	if r.name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.c.js.DeleteConsumer(ctx, resultsName+r.job.Tenant, r.name)
}

// Queued implements [engine.Sender].
func (c *Carrier) Queued(ctx context.Context, pool string, job engine.JobKey) (int, error) {
	if c.restricted {
		return 0, engine.ErrRefused // the server would list the subjects of all tenants
	}
	s, err := c.stream(ctx, workStream, jetstream.WithSubjectFilter(workPrefix+pool+"."+job.Tenant+"."+job.Job+".*"))
	if err != nil {
		return 0, said(err)
	}
	return len(s.CachedInfo().State.Subjects), nil
}

// Remove implements [engine.Sender]. Who may not purge the work queue leaves the batches in it. Nodes drop those of a job that is canceled or gone: the
// subjects that a purge is for are in the body of the request, where permissions do not reach, so the right to purge would be one to purge all tenants' work.
func (c *Carrier) Remove(ctx context.Context, pool string, job engine.JobKey, results bool) (err error) {
	if !c.restricted {
		err = c.purge(ctx, workStream, workPrefix+pool+"."+job.Tenant+"."+job.Job+".*")
	}
	if results {
		err = errors.Join(err, c.purge(ctx, resultsName+job.Tenant, resultPrefix+job.Tenant+"."+job.Job+".*"))
	}
	return said(err)
}

func (c *Carrier) purge(ctx context.Context, stream, subject string) error {
	s, err := c.stream(ctx, stream)
	if err != nil {
		return err
	}
	return c.guard(ctx, apiPrefix+"STREAM.PURGE."+stream, func(ctx context.Context) error {
		return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	})
}
