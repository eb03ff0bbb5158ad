package joblog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/parhost/parhost/internal/plain"
)

// maxAhead is the largest number of records for which memory is allocated in advance. The size of the file is no safe guide: a large sparse file may
// hold no records.
const maxAhead = 1 << 20

// load reads the file, returns an error if the journal must not continue it, and prepares it for more records.
func (j *Journal) load() error {
	info, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("joblog: %w", err)
	}
	began, err := j.begun(info.Size())
	if err != nil {
		return err
	}
	if !began {
		return j.begin()
	}
	var latest header
	j.index.entries = make([]entry, 0, min(info.Size()/160, maxAhead)) // the record of a small result is about 160 bytes long
	end, err := j.lines(info.Size(), func(at int64, line []byte) {
		if h, _, ok := parseRecord(line); ok {
			j.index.add(&h, at)
		} else if h, ok := parseHeader(line); ok && h.Format == format {
			latest = h
		} else {
			j.contents.Damaged++
		}
	})
	if err != nil {
		return err
	}
	j.contents.TornBytes = info.Size() - end
	dropped := j.index.dropRepeated()
	j.contents.Items = len(j.index.entries)
	for i := range j.index.entries {
		if e := &j.index.entries[i]; e.failed() {
			j.contents.Failed++
		}
	}
	if j.config.Origin.Seed == nil {
		j.config.Origin.Seed = latest.Seed
	}
	differences := j.config.Origin.Differences(&latest.Origin)
	drawn := j.needSeed()
	switch {
	case j.contents.Items > 0 && !j.config.Resume:
		return &FinishedError{j.config.Path, j.contents.Items}
	case j.contents.Items > 0 && len(differences) > 0 && !j.config.Anyway:
		return &OriginError{j.config.Path, differences}
	}
	if n := len(j.index.entries); n > 0 {
		j.number = j.index.entries[n-1].n + 1
	}
	if j.contents.TornBytes > 0 {
		if err := j.file.Truncate(end); err != nil {
			return &WriteError{j.config.Path, err}
		}
	}
	j.size, j.written, j.synced = end, end, end
	if canReplace && j.contents.Unlocked == nil && dropped+j.contents.Damaged > len(j.index.entries) {
		j.contents.Compacted = j.compact() == nil // if there is no space for a second file, the first one stays in use
	}
	if (len(differences) > 0 || drawn) && !j.contents.Compacted {
		if err := j.writeHeader(); err != nil {
			return err
		}
	}
	j.index.build()
	return nil
}

// begun reports whether the file begins with a header. It does not if it is empty or holds only part of a header. The error is a [*ForeignError] if
// the file is not a journal.
func (j *Journal) begun(size int64) (bool, error) {
	first := make([]byte, min(size, maxHeader))
	if _, err := io.ReadFull(io.NewSectionReader(j.file, 0, size), first); err != nil {
		return false, fmt.Errorf("read joblog %q: %w", j.config.Path, plain.Cause(err))
	}
	line, _, whole := bytes.Cut(first, []byte("\n"))
	if !whole && size < maxHeader && (isHeader(line) || bytes.HasPrefix([]byte(magic), line)) {
		return false, nil
	}
	if h, ok := parseHeader(line); ok && h.Format == format {
		return true, nil
	}
	var other struct{ Joblog *int }
	if isHeader(line) && json.Unmarshal(line, &other) == nil && other.Joblog != nil && *other.Joblog != format {
		return false, &ForeignError{j.config.Path, fmt.Sprintf("has format %d, this program knows format %d", *other.Joblog, format)}
	}
	return false, &ForeignError{j.config.Path, fmt.Sprintf("is no joblog: it begins with %.40q", line)}
}

// begin turns an empty file into a journal.
func (j *Journal) begin() error {
	j.needSeed()
	if err := j.file.Truncate(0); err != nil {
		return &WriteError{j.config.Path, err}
	}
	if err := j.writeHeader(); err != nil {
		return err
	}
	j.index.build()
	folder, err := plain.OpenFolder(filepath.Dir(j.path))
	if err == nil {
		err = errors.Join(plain.SyncFolder(folder), folder.Close())
	}
	if err != nil {
		return &WriteError{j.config.Path, err}
	}
	return nil
}

// needSeed draws a seed if neither the caller nor the file has one, and reports whether it did. Seeds have 53 bits, because every JSON reader keeps
// these exactly.
func (j *Journal) needSeed() (drawn bool) {
	if j.config.Origin.Seed != nil {
		return false
	}
	seed := rand.Uint64N(1 << 53)
	j.config.Origin.Seed = &seed
	return true
}

// writeHeader writes the origin of the results that follow. [Open] syncs it.
func (j *Journal) writeHeader() error {
	line := j.header()
	if len(line) > maxHeader {
		return fmt.Errorf("joblog %q: what the results come from takes %d bytes to write down, the limit is %d", j.config.Path, len(line), maxHeader)
	}
	if _, err := j.file.WriteAt(line, j.size); err != nil {
		return &WriteError{j.config.Path, err}
	}
	j.size += int64(len(line))
	j.written, j.synced = j.size, j.size
	return nil
}

func (j *Journal) header() []byte {
	return appendHeader(nil, &header{Format: format, Program: j.config.Program, Origin: j.config.Origin, Began: time.Now().UTC()})
}
