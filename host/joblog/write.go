package joblog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/parhost/parhost/internal/plain"
)

// clockEvery is how many records of short items may get the same time: to look at the clock for each would take a twentieth of the record's time.
const clockEvery = 64

// groupBytes is the amount of gathered records, in bytes, that is written at once even if no result waits for it.
const groupBytes = 256 << 10

// record adds the record of a result to the pending records. It returns the record's offset in the file, and whether the pending records should be
// written now. If h.n is negative, the record gets a new number. A record that could not be read back ends the stream, just like a failed write.
func (j *Journal) record(h *head, r *result) (at int64, full bool) {
	at, full, err := j.note(h, r)
	if err != nil {
		_ = j.fail(err) // flush returns the error
	}
	return at, full
}

func (j *Journal) note(h *head, r *result) (at int64, full bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at = j.size
	if h.n < 0 {
		if j.number > maxNumber {
			return at, true, fmt.Errorf("there are no record numbers beyond %d", int64(maxNumber))
		}
		h.n = j.number
		j.number++
	}
	before := len(j.pending)
	if j.unread++; before == 0 || r.Run >= time.Millisecond || j.unread == clockEvery {
		j.now, j.unread = time.Now().UnixMilli(), 0
	}
	h.at = j.now
	j.pending = appendRecord(j.pending, h, r)
	size := len(j.pending) - before
	if size > j.most+1 {
		j.pending = j.pending[:before]
		return at, true, fmt.Errorf("the record of item %d is %d bytes, the limit is %d (Config.MaxResultBytes of the journal)", r.Index, size-1, j.most)
	}
	j.size += int64(size)
	return at, len(j.pending) >= groupBytes, nil
}

// flush writes the pending records.
func (j *Journal) flush() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	group, at, err := j.pending, j.written, j.err
	j.pending = j.spare[:0]
	j.mu.Unlock()
	if cap(group) <= 4*groupBytes { // a larger buffer was needed for one large result only
		j.spare = group
	} else {
		j.spare = nil
	}
	if err != nil || len(group) == 0 {
		return err
	}
	if err := j.whole(at); err != nil { // records written after a cut would hide it
		return j.fail(err)
	}
	if _, err := j.file.WriteAt(group, at); err != nil {
		_ = j.file.Truncate(at) // remove a partial record; if that fails too, the next Open removes it
		return j.fail(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.written += int64(len(group))
	j.flushed = time.Now()
	return nil
}

// sync writes and syncs all records, so that they survive a crash of the machine.
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

// removed reports whether the journal's path now leads to another file or to none: records written then are lost when the file is closed.
func (j *Journal) removed() bool {
	there, err := os.Lstat(j.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	ours, err := j.file.Stat()
	return err == nil && !os.SameFile(there, ours)
}

// whole returns an error if the file was cut or removed while the journal was open: results that were yielded would have no record.
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

// syncNowAndThen syncs once per syncEvery, until Close.
func (j *Journal) syncNowAndThen() {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = j.sync() // the stream's caller gets the error
		case <-j.stop:
			return
		}
	}
}

// fail stores the error after which nothing can be written, and ends the running stream. It returns the first such error.
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
