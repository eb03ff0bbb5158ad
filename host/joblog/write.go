package joblog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/parhost/parhost/internal/plain"
)

// groupBytes of records are written at once, even if nobody waits for them yet.
const groupBytes = 256 << 10

// record notes down what became of an item, and returns where that will be, and whether it is time to write what has gathered. A
// negative number in h stands for a new one. What could not be read back ends the stream, as what cannot be written does.
func (j *Journal) record(h *head, r *result) (at int64, full bool) {
	at, full, err := j.note(h, r)
	if err != nil {
		_ = j.fail(err) // flush returns it
	}
	return at, full
}

func (j *Journal) note(h *head, r *result) (at int64, full bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at = j.size
	if h.n < 0 {
		if j.number > mostNumber {
			return at, true, fmt.Errorf("there are no record numbers beyond %d", int64(mostNumber))
		}
		h.n = j.number
		j.number++
	}
	before := len(j.pending)
	j.pending = appendRecord(j.pending, h, r)
	size := len(j.pending) - before
	if size > j.most+1 {
		j.pending = j.pending[:before]
		return at, true, fmt.Errorf("the record of item %d is %d bytes, the limit is %d (Config.MaxResultBytes of the journal)", r.Index, size-1, j.most)
	}
	j.size += int64(size)
	return at, len(j.pending) >= groupBytes, nil
}

// flush writes what has been recorded.
func (j *Journal) flush() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	group, at, err := j.pending, j.written, j.err
	j.pending = j.spare[:0]
	j.mu.Unlock()
	if cap(group) <= 4*groupBytes { // more was for one large result
		j.spare = group
	} else {
		j.spare = nil
	}
	if err != nil || len(group) == 0 {
		return err
	}
	if err := j.whole(at); err != nil { // what is written behind a cut would hide it
		return j.fail(err)
	}
	if _, err := j.file.WriteAt(group, at); err != nil {
		_ = j.file.Truncate(at) // no half a record; if that fails too, the next Open does it
		return j.fail(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.written += int64(len(group))
	j.flushed = time.Now()
	return nil
}

// sync makes what has been recorded survive the end of the machine.
func (j *Journal) sync() error {
	if err := j.flush(); err != nil {
		return err
	}
	if j.removed() {
		return j.fail(ErrRemoved)
	}
	j.mu.Lock()
	written, dirty := j.written, j.written != j.synced
	j.mu.Unlock()
	if err := j.whole(written); err != nil {
		return j.fail(err)
	}
	if !dirty {
		return nil
	}
	if _, err := plain.Sync(j.file); err != nil {
		return j.fail(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.synced = written
	return nil
}

// removed reports whether the journal's name leads to another file by now, or to none: what is written then is lost with the last descriptor.
func (j *Journal) removed() bool {
	there, err := os.Lstat(j.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	ours, err := j.file.Stat()
	return err == nil && !os.SameFile(there, ours)
}

// whole returns an error if the file has been taken away from under the journal: nothing would be there of what was shown.
func (j *Journal) whole(written int64) error {
	info, err := j.file.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() < written:
		return fmt.Errorf("%w: it has %d bytes, and %d had been written", ErrCut, info.Size(), written)
	case isRemoved(info):
		return ErrRemoved
	}
	return nil
}

// syncNowAndThen syncs until Close.
func (j *Journal) syncNowAndThen() {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = j.sync() // whoever wants results will hear of it
		case <-j.stop:
			return
		}
	}
}

// fail writes down why nothing can be written any more, and ends the stream under way. It returns the first such error.
func (j *Journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = &WriteError{j.config.Path, err}
		if j.cancel != nil {
			j.cancel(j.err)
		}
	}
	return j.err
}
