// Package engine says what a cluster asks of the service that carries its batches.
//
// An engine may repeat, reorder and delay what it carries, and may lose it too: package cluster heals that. But it keeps the first result that it has
// stored for a batch, and refuses any other one.
package engine

import (
	"context"
	"errors"
	"time"
)

// JobKey names a job. Both words have 1 to 64 letters, digits, "-" and "_".
type JobKey struct{ Tenant, Job string }

// Key names a batch by its job and by the place of its first item in the input.
type Key struct {
	JobKey
	First uint64
}

// Result is a stored result of a batch.
type Result struct {
	Key   Key
	Items int    // that the result is of
	Body  []byte // nil in a list
}

var (
	// ErrFull says that the queue has no room for a batch now.
	ErrFull = errors.New("the queue is full")
	// ErrRefused matches what no further try can change: the service does not allow it.
	ErrRefused = errors.New("the server refuses it")
	// ErrConflict says that an entry of the registry has been changed meanwhile, or exists already.
	ErrConflict = errors.New("changed meanwhile")
	// ErrUnreadable says that what is stored is no result, or that a part of it is gone.
	ErrUnreadable = errors.New("it cannot be read")
	// ErrNotFound says that there is no such thing.
	ErrNotFound = errors.New("not found")
)

// Sender is what the submitter of a job asks for.
type Sender interface {
	// Put offers a batch to the nodes of a pool, and returns its place in the queue. A batch that is already there, waiting or leased, stays as it is, and the
	// place is 0.
	Put(ctx context.Context, pool string, key Key, body []byte) (place uint64, err error)
	// Lookup returns the stored result of a batch, or ErrNotFound. The error matches ErrUnreadable if there is one that is none.
	Lookup(ctx context.Context, key Key) (Result, error)
	// Discard removes the stored result of a batch.
	Discard(ctx context.Context, key Key) error
	// Stored lists the results of a job, without their bodies. Results that are stored later are followed from the cursor.
	Stored(ctx context.Context, job JobKey, each func(Result)) (cursor uint64, err error)
	// Follow passes on the results that are stored after the cursor, in any order, some repeatedly or never, until ctx ends. It returns early only with
	// an error that matches ErrRefused.
	Follow(ctx context.Context, job JobKey, cursor uint64, each func(Result)) error
	// Queued returns how many batches of a job are in the queue of a pool, waiting or leased. Who may not know it gets ErrRefused.
	Queued(ctx context.Context, pool string, job JobKey) (int, error)
	// Remove removes what waits of a job in a pool, and, if results is true, its results too. What waits may stay if the submitter may not remove it: nodes drop
	// batches of jobs that are canceled or gone.
	Remove(ctx context.Context, pool string, job JobKey, results bool) error
	Backlog(ctx context.Context, pool string) (Backlog, error)
}

// Receiver is what a node asks for.
type Receiver interface {
	// Lease waits for a batch of a pool.
	Lease(ctx context.Context, pool string) (Lease, error)
	// HasResult reports whether a batch has a stored result.
	HasResult(ctx context.Context, key Key) (bool, error)
	// Begun returns how often a batch was begun that was given to a node before, without those that were taken back.
	Begun(ctx context.Context, key Key) (int, error)
	// Outlived takes one of these back.
	Outlived(ctx context.Context, key Key) error
	// Begin counts how often a batch was begun that was given to a node before, and returns the count.
	Begin(ctx context.Context, key Key) (int, error)
	// LeaseTime is after which time a lease ends that is not extended, so that another node gets the batch.
	LeaseTime() time.Duration
}

// Lease is a batch that a node runs.
type Lease interface {
	Key() Key
	Body(ctx context.Context) ([]byte, error)
	// Deliveries is how often the batch was given to a node so far, this time included.
	Deliveries() int
	Extend() error
	// Store stores the result, unless there is one already, and removes the batch from the queue.
	Store(ctx context.Context, r Result) error
	// Drop removes the batch from the queue.
	Drop() error
	// GiveBack returns the batch to the queue. It is given to another node after the delay.
	GiveBack(delay time.Duration) error
}

// Registry keeps small entries by name.
type Registry interface {
	// PutJob writes the entry of a job. revision is the one that it replaces, 0 for an entry that must not exist yet. Else the error is ErrConflict.
	PutJob(ctx context.Context, job JobKey, body []byte, revision uint64) (uint64, error)
	// Job returns the entry of a job and its revision, or ErrNotFound.
	Job(ctx context.Context, job JobKey) (body []byte, revision uint64, err error)
	Jobs(ctx context.Context, tenant string) (map[JobKey][]byte, error)
	RemoveJob(ctx context.Context, job JobKey) error
	// PutNode writes the entry of a node, which vanishes some seconds later.
	PutNode(ctx context.Context, name string, body []byte) error
	RemoveNode(ctx context.Context, name string) error
	Nodes(ctx context.Context) (map[string][]byte, error)
	// Tell passes a word on to all who listen right now.
	Tell(job JobKey, word string) error
	// Listen hears the words about a tenant's jobs, or about all if tenant is empty.
	Listen(tenant string, each func(job JobKey, word string)) (stop func(), err error)
}

// Blobs keeps the executables of each tenant by the SHA-256 of their content, in hexadecimal.
type Blobs interface {
	HasBlob(ctx context.Context, tenant, sum string) (bool, error)
	PutBlob(ctx context.Context, tenant, sum string, content []byte) error
	// Blob returns a content that has this checksum, or ErrNotFound.
	Blob(ctx context.Context, tenant, sum string) ([]byte, error)
}

// Backlog is what a pool's queue holds.
type Backlog struct {
	Waiting int    // batches that no node has
	Leased  int    // batches that nodes have
	Given   uint64 // place of the last batch that was given to a node
}

// Engine is all of that.
type Engine interface {
	Sender
	Receiver
	Registry
	Blobs
	Close()
}
