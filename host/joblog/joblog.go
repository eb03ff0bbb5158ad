package joblog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// Config says where a journal is and how to treat the results that it already holds.
type Config struct {
	Path   string // path of the journal; created if it does not exist
	Origin Origin // origin of the new results; see [OriginOf]

	// Resume continues with the results that the journal holds. If it is not set, Open refuses a journal that holds results.
	Resume bool
	// RetryFailed runs items that failed again. By default they keep their errors, as in a run without interruption.
	RetryFailed bool
	// Anyway keeps the results of the journal even if they have another origin.
	Anyway bool

	// MaxResultBytes is the largest result that is written and read, in bytes. The default, 0, is 64 MiB, as in [host.Config].
	MaxResultBytes int

	Program string // the name and version of the program, for people who read the journal

	// Run runs the items that have no result and yields a result for each, in any order; the Index of a result is the item's index among these items.
	// The default, nil, sends them as JSON texts. Another function may send items in another form. If Run ranges over the items a second time,
	// it gets the items after the last one that it read, provided that the iterator given to the journal works this way too.
	Run func(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error]
}

// Journal is a file of finished items. Only one Journal at a time can have the file open.
//
// All methods may be called from any goroutine. Make one with [Open]; the zero value is of no use.
type Journal struct {
	path     string // absolute, with symbolic links resolved
	file     *os.File
	config   Config
	contents Contents
	most     int // largest length of a line in bytes, without its line break

	index index // only the stream uses it

	mu      sync.Mutex              // guards the fields from here to closed
	number  int64                   // number of the next record
	pending []byte                  // records that have not been written yet
	size    int64                   // bytes of the file, including pending
	written int64                   // bytes of the file that have been written
	flushed time.Time               // when records were last written
	now     int64                   // when the clock was last read, in milliseconds since 1970
	unread  int                     // records made since the clock was last read
	synced  int64                   // bytes of the file that have been synced
	err     error                   // why nothing can be written any more; nil if it can
	cancel  context.CancelCauseFunc // ends the stream; nil before the first stream
	closed  bool

	writing sync.Mutex // held while a group is written, so that groups keep their order; lock it before mu
	spare   []byte     // buffer for the next group; guarded by writing

	flow     atomic.Pointer[flow] // of the stream; nil before there is one
	replayed atomic.Int64         // results yielded from the journal
	stop     chan struct{}        // closed to end the goroutine that syncs
	syncing  sync.WaitGroup
}

// Contents says what a journal held when it was opened.
type Contents struct {
	Items     int   // finished items
	Failed    int   // finished items that have an error
	Damaged   int   // lines that could not be read; the items of these records run again
	TornBytes int64 // bytes of an incomplete last line, which was cut off
	Compacted bool  // the file was rewritten, because most of its lines were out of date

	// Unsynced is why the file system cannot sync the file; nil if it can. If it cannot, a crash of the machine may lose any records, including those
	// of results that were yielded.
	Unsynced error
	// Unlocked is why the file system cannot lock the file; nil if it can. If it cannot, nothing stops two journals from opening the file at the same
	// time, which damages it. A file that is not locked is never compacted.
	Unlocked error
}

// syncEvery is the longest time that a record waits to be synced.
const syncEvery = time.Second

// Open opens a journal, or creates it if it does not exist. It locks the file and cuts off an incomplete last line.
//
// The error is an [*InUseError] if another Journal has the file open, a [*ForeignError] if the file is not a journal, a [*FinishedError] if it holds
// results and Resume is not set, an [*OriginError] if its results have another origin, and a [*LineError] if a line is too long. In these cases the
// file is unchanged. A [*WriteError] says that the file cannot be written or synced. A file system that does not support syncing or locking is not an
// error: [Contents] reports it.
func Open(cfg Config) (*Journal, error) {
	if cfg.Run == nil {
		cfg.Run = func(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error] {
			return host.BindJSON[json.RawMessage, json.RawMessage](p).Unordered(ctx, items)
		}
	}
	if cfg.MaxResultBytes < 0 {
		return nil, fmt.Errorf("joblog: Config.MaxResultBytes is %d, want a number from 0", cfg.MaxResultBytes)
	}
	j := &Journal{config: cfg, most: lineBytes(cmp.Or(cfg.MaxResultBytes, wire.DefaultMaxResultBytes)), stop: make(chan struct{})}
	if err := j.open(); err != nil {
		return nil, err
	}
	err := j.load()
	if err == nil { // synced once before any record, so that a new record cannot follow the header of an earlier origin
		if j.contents.Unsynced, err = plain.Sync(j.file); err != nil {
			err = &WriteError{cfg.Path, err}
		}
	}
	if err != nil {
		_ = j.file.Close()
		return nil, err
	}
	j.syncing.Go(j.syncNowAndThen)
	return j, nil
}

// lineBytes returns the largest length of a record, in bytes, if results have at most result bytes. A record of a failure fits too.
func lineBytes(result int) int {
	const others = 512 // bytes of the other fields
	return max(min(result, math.MaxInt/8), maxFailure) + others
}

// open opens and locks the file. It resolves symbolic links in the path only once, so a link that changes later has no effect.
func (j *Journal) open() error {
	path, err := plain.Resolve(j.config.Path)
	if err == nil {
		path, err = filepath.Abs(path) // the program may change its working folder
	}
	if err != nil {
		return fmt.Errorf("joblog: %w", err)
	}
	for range 100 { // a file that is replaced this often is in use by another process
		// Only the user may read the file, because results may be private.
		f, err := plain.OpenOwn(path, 0o600)
		if _, other := errors.AsType[*plain.KindError](err); other {
			return &ForeignError{j.config.Path, "is no regular file"}
		}
		if err != nil {
			return fmt.Errorf("joblog: %w", err)
		}
		j.contents.Unlocked = nil
		switch err := lock(f, j.config.Path); {
		case plain.Unsupported(err):
			j.contents.Unlocked = err
		case err != nil:
			_ = f.Close()
			if errors.As(err, new(*InUseError)) {
				return err
			}
			return fmt.Errorf("lock joblog %q: %w", j.config.Path, err)
		}
		now, err := os.Lstat(path)
		is, err2 := f.Stat()
		if err2 == nil && err == nil && os.SameFile(now, is) {
			j.path, j.file = path, f
			return nil
		}
		// Another process has just replaced or removed the file.
		_ = f.Close()
		if err2 != nil {
			return fmt.Errorf("joblog: %w", err2)
		}
	}
	return &InUseError{Path: j.config.Path}
}

// Contents says what the journal held when it was opened.
func (j *Journal) Contents() Contents { return j.contents }

// Seed returns the seed from which the items of the stream draw their random numbers.
func (j *Journal) Seed() uint64 { return *j.config.Origin.Seed }

// Replayed returns how many of the results yielded so far were in the journal when it was opened.
func (j *Journal) Replayed() int { return int(j.replayed.Load()) }

// Close ends the stream if one is running, writes and syncs what is left, and closes the file. It returns the first error of writing, a
// [*WriteError]. It may be called twice.
func (j *Journal) Close() error {
	if j.shut() {
		close(j.stop)
		j.syncing.Wait()
		err := j.sync()
		if closeErr := j.file.Close(); err == nil && closeErr != nil {
			_ = j.fail(closeErr)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// shut ends the stream and reports whether the journal was still open.
func (j *Journal) shut() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancel != nil {
		j.cancel(ErrClosed)
	}
	was := !j.closed
	j.closed = true
	return was
}
