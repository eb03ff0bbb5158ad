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

// Config says where a journal is, and what to do with what it holds.
type Config struct {
	Path   string // is made if it is not there
	Origin Origin // of the results that are to come; see [OriginOf]

	// Resume goes on with the results that the journal holds. Without it a journal that holds some is refused.
	Resume bool
	// RetryFailed runs items again that failed. By default they keep their errors, as an undisturbed run would.
	RetryFailed bool
	// Anyway keeps the results even if they are of another origin.
	Anyway bool

	// MaxResultBytes is the largest result that is written and read. Default 64 MiB, which is also that of [host.Config].
	MaxResultBytes int

	Program string // the name and version of the program, for people who read the journal

	// Run runs the items that have no result and yields what became of each, with the item's place among them as its Index, in whatever
	// order; nil is [host.Unordered]. Another one may let items travel as something else than texts. If it ranges over the items again, it
	// gets those behind the last one, provided that ranging over the journal's own items again does so.
	Run func(ctx context.Context, p *host.Pool, items iter.Seq[json.RawMessage]) iter.Seq2[host.Result[json.RawMessage], error]
}

// Journal is a file of finished items. One at a time has it open.
//
// All methods may be called from any goroutine. Make one with [Open]; the zero value is of no use.
type Journal struct {
	path     string // without symbolic links
	file     *os.File
	config   Config
	contents Contents
	most     int // bytes of a line without its line break

	index index // the stream's

	mu      sync.Mutex              // guards what follows
	number  int64                   // of the next record
	pending []byte                  // records that are to be written
	size    int64                   // of the file, with pending
	written int64                   // of it
	flushed time.Time               // when records were written last
	synced  int64                   // of it
	err     error                   // why nothing can be written any more
	cancel  context.CancelCauseFunc // ends the stream; nil if there has been none
	closed  bool

	writing sync.Mutex // held by who writes, so that groups keep their order; taken before mu
	spare   []byte     // room for the next group; guarded by writing

	replayed atomic.Int64  // results
	stop     chan struct{} // ends the syncing
	syncing  sync.WaitGroup
}

// Contents says what a journal held when it was opened.
type Contents struct {
	Items     int   // that are finished
	Failed    int   // of which have an error
	Damaged   int   // lines that could not be read; their items run again
	TornBytes int64 // of a last line that had not been written to its end, and was cut off
	Compacted bool  // the file has been written anew, because most of it was out of date

	// Unsynced is why the file system cannot sync the file, nil if it can. Records may then be lost when the machine ends, also those of results
	// that have been yielded.
	Unsynced error
	// Unlocked is why the file system cannot lock the file, nil if it can. Nothing then keeps two journals from having it open at the same time,
	// which spoils it. Such a file is not compacted.
	Unlocked error
}

// syncEvery is how long a record may wait for being synced.
const syncEvery = time.Second

// Open opens a journal, makes it if need be, repairs a last line that was not written to its end, and locks it.
//
// The error is an [*InUseError] if another has it open, a [*ForeignError] for a file that is no journal, a [*FinishedError] if there
// are results and Resume is not set, an [*OriginError] if they come from something else, and a [*LineError] for a line that is too long. The
// file is then as it was. A file system that cannot sync or lock files is no error: [Contents] says so.
func Open(cfg Config) (*Journal, error) {
	if cfg.Run == nil {
		cfg.Run = host.Unordered[json.RawMessage, json.RawMessage]
	}
	if cfg.MaxResultBytes < 0 {
		return nil, fmt.Errorf("joblog: Config.MaxResultBytes is %d, want a number from 0", cfg.MaxResultBytes)
	}
	j := &Journal{config: cfg, most: lineBytes(cmp.Or(cfg.MaxResultBytes, wire.DefaultMaxResultBytes)), stop: make(chan struct{})}
	if err := j.open(); err != nil {
		return nil, err
	}
	err := j.load()
	if err == nil { // once and before any record, which must not be taken for one of the origin before
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

// lineBytes is how long the record of a result of at most so many bytes may be, or that of a failure.
func lineBytes(result int) int {
	const others = 512 // the other fields
	return max(min(result, math.MaxInt/8), mostFailure) + others
}

// open opens and locks the file. Links in the path are followed once, and what they lead to then is the journal.
func (j *Journal) open() error {
	path, err := plain.Resolve(j.config.Path)
	if err == nil {
		path, err = filepath.Abs(path) // the program may change its working folder
	}
	if err != nil {
		return fmt.Errorf("joblog: %w", err)
	}
	for range 100 { // whoever replaces it again and again has it
		// Only its user may read it: results are nobody else's business.
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
		// It has just been replaced by whoever had it open, or removed.
		_ = f.Close()
		if err2 != nil {
			return fmt.Errorf("joblog: %w", err2)
		}
	}
	return &InUseError{Path: j.config.Path}
}

// Contents says what the journal held when it was opened.
func (j *Journal) Contents() Contents { return j.contents }

// Seed is what the items of the stream draw their random numbers by.
func (j *Journal) Seed() uint64 { return *j.config.Origin.Seed }

// Replayed is how many of the results yielded so far were in the journal when it was opened.
func (j *Journal) Replayed() int { return int(j.replayed.Load()) }

// Close writes and syncs what is left and lets go of the file. It returns the first error of writing, a [*WriteError]. It may be called
// twice.
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

// shut ends the stream, and reports whether the journal had been open.
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
