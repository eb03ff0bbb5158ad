package carrier

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// bucket is a key-value bucket, laid out as the library's are, so that the nats command shows it.
//
// The library's own buckets would need two rights that cannot be limited to one tenant. They read the state of the whole stream, which shows the names of all
// tenants' entries. And their stream accepts the header Nats-Rollup, with which anybody who may write one entry can remove all entries.
type bucket struct {
	c    *Carrier
	name string
}

const (
	bucketStream   = "KV_"
	bucketSubject  = "$KV."
	bucketMark     = "KV-Operation" // of a message that says that an entry was removed
	expectRevision = "Nats-Expected-Last-Subject-Sequence"
)

func (b bucket) subject(key string) string { return bucketSubject + b.name + "." + key }

// get returns an entry and its revision. An entry that was removed is not found, and has a revision.
func (b bucket) get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	m, err := b.c.last(ctx, bucketStream+b.name, b.subject(key))
	if err != nil {
		return nil, 0, err
	}
	if revision, err = revisionOf(m); err == nil && m.Header.Get(bucketMark) != "" {
		err = engine.ErrNotFound
	}
	return m.Data, revision, err
}

// put writes an entry. If was is not nil, the entry must have that revision, 0 for none, or the error is [engine.ErrConflict].
func (b bucket) put(ctx context.Context, key string, value []byte, was *uint64) (revision uint64, err error) {
	m := &nats.Msg{Subject: b.subject(key), Header: nats.Header{}, Data: value}
	if was != nil {
		m.Header.Set(expectRevision, strconv.FormatUint(*was, 10))
	}
	revision, err = b.c.publish(ctx, m)
	if api := apiError(err); api != nil && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return 0, engine.ErrConflict
	}
	return revision, said(err)
}

// remove leaves a mark in place of an entry.
func (b bucket) remove(ctx context.Context, key string) error {
	m := &nats.Msg{Subject: b.subject(key), Header: nats.Header{}}
	m.Header.Set(bucketMark, "DEL")
	_, err := b.c.publish(ctx, m)
	return said(err)
}

// all returns the entries whose keys match.
func (b bucket) all(ctx context.Context, keys string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	stream := bucketStream + b.name
	cons, err := b.c.reads(ctx, stream, jetstream.ConsumerConfig{
		Name: "l_" + nuid.Next(), FilterSubject: b.subject(keys), AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return nil, said(err)
	}
	info := cons.CachedInfo()
	defer func() { _ = b.c.js.DeleteConsumer(context.WithoutCancel(ctx), stream, info.Name) }()
	found := map[string][]byte{}
	for left := info.NumPending; left > 0; {
		batch, err := cons.Fetch(int(min(left, 256)), jetstream.FetchContext(ctx))
		if err != nil {
			return nil, said(err)
		}
		for m := range batch.Messages() {
			if md, err := m.Metadata(); err == nil {
				left = md.NumPending
			}
			if key := m.Subject()[len(b.subject("")):]; m.Headers().Get(bucketMark) == "" {
				found[key] = m.Data()
			}
		}
		switch err := batch.Error(); {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && !errors.Is(err, nats.ErrTimeout):
			return nil, said(err)
		}
	}
	return found, nil
}
