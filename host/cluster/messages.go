package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

type result = host.Result[json.RawMessage]

// digestBytes is how much of each item's SHA-256 a result carries.
const digestBytes = 8

// digest returns the digests of items, one after the other, by which a submitter knows that a stored result is of its own items. Each item has its own, because
// a submitter may have cut the items into other batches than the one before it, whose batches are still in the queue.
func digest(items []json.RawMessage) []byte {
	all := make([]byte, 0, digestBytes*len(items))
	for _, item := range items {
		sum := sha256.Sum256(item)
		all = append(all, sum[:digestBytes]...)
	}
	return all
}

func encodeBatch(created, first uint64, items []json.RawMessage) ([]byte, error) {
	b := &clusterpb.Batch{CreatedUnixNs: created, First: first, Items: make([][]byte, len(items))}
	for i, item := range items {
		b.Items[i] = item
	}
	return proto.Marshal(b)
}

func decodeBatch(body []byte) (created, first uint64, items []json.RawMessage, err error) {
	var b clusterpb.Batch
	if err := proto.Unmarshal(body, &b); err != nil {
		return 0, 0, nil, err
	}
	if len(b.Items) == 0 {
		return 0, 0, nil, errors.New("the batch has no items")
	}
	items = make([]json.RawMessage, len(b.Items))
	for i, item := range b.Items {
		items[i] = item
	}
	return b.CreatedUnixNs, b.First, items, nil
}

// encodeResults makes the message for the results of a batch. results are in the order of the items, and their indexes are places in the batch.
func encodeResults(node string, first uint64, items []json.RawMessage, results []result, took time.Duration) ([]byte, error) {
	n := len(results)
	m := &clusterpb.Result{
		First: first, Count: uint32(n), Digest: digest(items[:n]), Node: node, TookNs: uint64(max(0, took)),
		Values: make([][]byte, n), Workers: make([]uint32, n), Pids: make([]uint32, n), WaitNs: make([]uint64, n), RunNs: make([]uint64, n),
	}
	again := false
	for i := range results {
		r := &results[i]
		m.Workers[i], m.Pids[i] = uint32(r.Worker), uint32(r.PID)
		m.WaitNs[i], m.RunNs[i] = uint64(max(0, r.Wait)), uint64(max(0, r.Run))
		again = again || r.Attempts != 1
		if r.Err != nil {
			m.Failures = append(m.Failures, failureOf(i, r.Err))
			continue
		}
		m.Values[i] = r.Value
	}
	if again {
		m.Attempts = make([]uint32, n)
		for i := range results {
			m.Attempts[i] = uint32(results[i].Attempts)
		}
	}
	return proto.Marshal(m)
}

// failureOf returns the message for an error, whose texts come from a worker and are shortened as package host does.
func failureOf(i int, e *host.ItemError) *clusterpb.Failure {
	f := &clusterpb.Failure{
		Item: uint32(i), Kind: string(e.Kind), Message: bound.Text(e.Message, wire.MaxMessageText), Stack: bound.Text(e.Stack, wire.MaxStackText),
		Offset: uint64(max(0, e.Offset)), Size: uint64(max(0, e.Size)), ExitCode: int32(e.ExitCode), Signal: bound.Text(e.Signal, wire.MaxSignal), Cause: string(e.Cause),
	}
	for _, line := range e.Stderr[max(0, len(e.Stderr)-wire.MaxStderrLines):] {
		f.Stderr = append(f.Stderr, bound.Text(line, wire.MaxStderrLine))
	}
	return f
}

// answer is a result that has been checked.
type answer struct {
	first   uint64
	digest  []byte
	node    string
	took    time.Duration
	results []result
}

// decodeResults reads and checks the message of a node. A node runs what strangers have written, so nothing is taken for granted: each result is a text of
// JSON, and each failure one that an item can have.
func decodeResults(body []byte) (*answer, error) {
	var m clusterpb.Result
	if err := proto.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	n := len(m.Values)
	if n == 0 || int(m.Count) != n || len(m.Workers) != n || len(m.Pids) != n || len(m.WaitNs) != n || len(m.RunNs) != n || len(m.Attempts) != 0 && len(m.Attempts) != n {
		return nil, fmt.Errorf("the result of batch %d has columns of different lengths", m.First)
	}
	if len(m.Digest) != digestBytes*n {
		return nil, fmt.Errorf("the result of batch %d has %d bytes of digests for %d items", m.First, len(m.Digest), n)
	}
	a := &answer{first: m.First, digest: m.Digest, node: bound.Text(m.Node, maxName), took: span(m.TookNs), results: make([]result, n)}
	for i := range a.results {
		r := &a.results[i]
		r.Worker, r.PID, r.Wait, r.Run, r.Attempts = int(m.Workers[i]), int(m.Pids[i]), span(m.WaitNs[i]), span(m.RunNs[i]), 1
		if len(m.Attempts) > 0 {
			r.Attempts = int(m.Attempts[i])
		}
	}
	for _, f := range m.Failures {
		if int(f.Item) >= n || a.results[f.Item].Err != nil {
			return nil, fmt.Errorf("the result of batch %d has a failure of item %d", m.First, f.Item)
		}
		e := &host.ItemError{
			Kind: host.Kind(f.Kind), Message: f.Message, Stack: f.Stack, Offset: int(min(f.Offset, wire.MaxOffset)), Size: int64(min(f.Size, wire.MaxSize)),
			ExitCode: int(f.ExitCode), Signal: f.Signal, Stderr: f.Stderr, Cause: host.Cause(f.Cause), Attempts: a.results[f.Item].Attempts,
		}
		if !wire.Possible(e) && e.Kind != protocol.KindCanceled {
			return nil, fmt.Errorf("the result of batch %d has a failure of kind %q, which no item can have", m.First, f.Kind)
		}
		a.results[f.Item].Err = e
	}
	for i := range a.results {
		if r := &a.results[i]; r.Err == nil {
			if !wire.ValidText(m.Values[i]) {
				return nil, fmt.Errorf("the result of batch %d is no JSON at item %d", m.First, i)
			}
			r.Value = m.Values[i]
		}
	}
	return a, nil
}

// maxName is how many bytes of a node's name are kept.
const maxName = 128

// span returns a time that a node has measured, no longer than some hundred days, so that sums do not overflow.
func span(ns uint64) time.Duration { return time.Duration(min(ns, 1<<53)) }

// bytes returns about how much memory the results take.
func (a *answer) bytes() int {
	n := len(a.results) * keepBytes
	for i := range a.results {
		n += len(a.results[i].Value)
	}
	return n
}

// sameItems reports whether an answer is of these items, as far as both reach.
func (a *answer) sameItems(items []json.RawMessage) bool {
	n := min(len(a.results), len(items))
	return bytes.Equal(a.digest[:digestBytes*n], digest(items[:n]))
}

// cut takes the results from n on off an answer, as an answer of their own.
func (a *answer) cut(n int) *answer {
	rest := *a
	rest.first, rest.digest, rest.results = a.first+uint64(n), a.digest[digestBytes*n:], a.results[n:]
	a.digest, a.results = a.digest[:digestBytes*n], a.results[:n]
	return &rest
}
