package joblog

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// Record is a finished item of a journal.
type Record struct {
	// Result is what became of the item. Its Value is valid until the next record is read.
	Result host.Result[json.RawMessage]
	At     time.Time // when the record was made; zero if the journal does not say
	Began  time.Time // when the part of the journal began that the record stands in
	// Replaced says that the item failed and was run again: a later record has what became of it.
	Replaced bool
}

// Reading says what a journal is, and what could not be read of it.
type Reading struct {
	Program   string // that wrote the last part of the journal
	Origin    Origin // of the last part
	Began     time.Time
	Records   int
	Damaged   int   // lines that are no records
	TornBytes int64 // bytes of an incomplete last line
}

// Read calls each for the records of a journal, in the order in which they were written. It changes nothing and needs no lock, so a run may be writing the
// journal meanwhile: records that come later are left out. maxResultBytes is as in [Config].
//
// The error is a [*ForeignError] if the file is no journal, a [*LineError] if a line is too long, and the error of each if that returns one.
func Read(path string, maxResultBytes int, each func(*Record) error) (Reading, error) {
	var about Reading
	f, err := plain.Open(path)
	if _, other := errors.AsType[*plain.KindError](err); other {
		return about, &ForeignError{path, "is no regular file"}
	}
	if err != nil {
		return about, fmt.Errorf("read joblog %q: %w", path, plain.Cause(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return about, fmt.Errorf("read joblog %q: %w", path, plain.Cause(err))
	}
	j := &Journal{config: Config{Path: path, MaxResultBytes: maxResultBytes}, file: f, most: lineBytes(cmp.Or(maxResultBytes, wire.DefaultMaxResultBytes))}
	switch began, err := j.begun(info.Size()); {
	case err != nil:
		return about, err
	case !began:
		return about, &ForeignError{path, "is no joblog: it is empty, or its first line is incomplete"}
	}
	last := map[int64]int64{} // place of the last record of an item that has failed, by number
	end, err := j.lines(info.Size(), func(at int64, line []byte) {
		if h, _, _, ok := parseHead(line); ok {
			if _, failed := last[h.n]; failed || h.failed {
				last[h.n] = at
			}
		}
	})
	if err != nil {
		return about, err
	}
	about.TornBytes = info.Size() - end
	first := true
	var began time.Time
	var stopped error
	_, err = j.lines(end, func(at int64, line []byte) {
		if stopped != nil {
			return
		}
		h, r, ok := parseRecord(line)
		if !ok {
			if head, isHead := parseHeader(line); isHead && head.Format == format {
				began = head.Began
				if about.Program, about.Origin = head.Program, head.Origin; first {
					about.Began, first = head.Began, false
				}
			} else {
				about.Damaged++
			}
			return
		}
		about.Records++
		record := Record{Result: r, Began: began}
		if h.at > 0 {
			record.At = time.UnixMilli(h.at)
		}
		place, failed := last[h.n]
		record.Replaced = failed && place != at
		stopped = each(&record)
	})
	return about, errors.Join(err, stopped)
}

// lines calls each for the complete lines in the first size bytes, and returns the offset of their end.
func (j *Journal) lines(size int64, each func(at int64, line []byte)) (end int64, err error) {
	end, err = scan(j.file, size, j.most, each)
	if long, ok := errors.AsType[*LineError](err); ok {
		long.Path = j.config.Path
		return end, long
	}
	if err != nil {
		return end, fmt.Errorf("read joblog %q: %w", j.config.Path, plain.Cause(err))
	}
	return end, nil
}
