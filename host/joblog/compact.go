package joblog

import (
	"errors"
	"os"
	"path/filepath"
)

// compact writes the records that hold into a new file, and puts it into the place of the old one once it is complete and synced. An
// end in between leaves the old file as it was, and beside it one that the next time overwrites.
func (j *Journal) compact() error {
	path := filepath.Join(filepath.Dir(j.path), "."+filepath.Base(j.path)+".compact")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	places, size, err := j.copyTo(f)
	if err == nil {
		err = lock(f, j.config.Path) // before anybody can find it under the old one's name
	}
	if err == nil {
		err = os.Rename(path, j.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	_ = syncDir(filepath.Dir(j.path)) // until that is done there is one or the other
	_ = j.file.Close()
	j.file = f
	j.size, j.written, j.synced = size, size, size
	for i := range j.index.entries {
		j.index.entries[i].move(places[i])
	}
	return nil
}

// copyTo writes a header and all records of the index, and returns where they are in the new file.
func (j *Journal) copyTo(f *os.File) (places []int64, size int64, err error) {
	from := window{r: j.file, most: j.most}
	group := append(make([]byte, 0, 2*groupBytes), j.header()...)
	for i := range j.index.entries {
		line, err := from.line(j.index.entries[i].at())
		if err != nil {
			return nil, 0, err
		}
		if len(group) >= groupBytes {
			if _, err := f.WriteAt(group, size); err != nil {
				return nil, 0, err
			}
			size += int64(len(group))
			group = group[:0]
		}
		places = append(places, size+int64(len(group)))
		group = append(append(group, line...), '\n')
	}
	_, err = f.WriteAt(group, size)
	if err == nil {
		err = f.Sync()
	}
	return places, size + int64(len(group)), err
}
