package joblog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/parhost/parhost/internal/plain"
)

// compact writes the valid records into a new file and replaces the old file by it once the new one is complete and synced. If the program ends in
// between, the old file is unchanged, and the next compaction removes the new one.
func (j *Journal) compact() error {
	folder, err := plain.OpenFolder(filepath.Dir(j.path))
	if err != nil {
		return err
	}
	defer folder.Close()
	name := filepath.Base(j.path)
	draft := "." + name + ".compact" // no other process uses this name while the journal is locked
	if err := folder.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := plain.Begin(folder, draft, 0o600)
	if err != nil {
		return err
	}
	places, size, err := j.copyTo(d.File)
	if err == nil {
		err = lock(d.File, j.config.Path) // lock before another process can find the new file under the journal's name
	}
	if err == nil {
		err = d.Commit(name)
	}
	if err != nil {
		return errors.Join(err, d.Abort())
	}
	_ = plain.SyncFolder(folder) // without it, a crash of the machine leaves either the old or the new file, and both are complete
	_ = j.file.Close()
	j.file = d.File
	j.size, j.written, j.synced = size, size, size
	for i := range j.index.entries {
		j.index.entries[i].move(places[i])
	}
	return nil
}

// copyTo writes a header and all records of the index to f. It returns the offset of each record in f and the size of f, in bytes.
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
	return places, size + int64(len(group)), err
}
