package joblog_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/internal/refuse"
)

// alone runs the test again in a separate process and reports whether this is that process.
func alone(t *testing.T) bool {
	t.Helper()
	const variable = "JOBLOG_TEST_ALONE"
	if os.Getenv(variable) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// CIFS and FUSE may not support syncing, and NFS may not support locks. A run must give its results even so.
func TestAJournalOnAFileSystemThatCannotSyncOrLock(t *testing.T) {
	if !alone(t) {
		return
	}
	if err := refuse.Calls(map[uintptr]unix.Errno{unix.SYS_FSYNC: unix.EINVAL, unix.SYS_FDATASYNC: unix.EINVAL, unix.SYS_FLOCK: unix.ENOLCK}); err != nil {
		t.Fatal(err)
	}
	p, path := openPool(t, echo), newPath(t)
	want := []string{"item 0: [0]", "item 1: [1]", "item 2: [2]"}
	for _, n := range []int{2, 3} { // the first run, and a run that resumes it
		j, err := joblog.Open(joblog.Config{Path: path, Origin: origin, Resume: true})
		if err != nil {
			t.Fatal("Open:", err)
		}
		if c := j.Contents(); !errors.Is(c.Unsynced, unix.EINVAL) || !errors.Is(c.Unlocked, unix.ENOLCK) {
			t.Errorf("Contents: got %v and %v, want EINVAL and ENOLCK", c.Unsynced, c.Unlocked)
		}
		if got := lines(j.Stream(t.Context(), p, numbers(n)), all); !slices.Equal(got, want[:n]) {
			t.Errorf("Stream: got %q, want %q", got, want[:n])
		}
		if err := j.Close(); err != nil {
			t.Error("Close:", err)
		}
	}
	// Two journals may have a file open that cannot be locked, so that neither may replace it.
	text := readFile(t, path)
	for i := range 9 {
		text = append(text, "damaged "+strconv.Itoa(i)+"\n"...)
	}
	writeFile(t, path, text)
	if j := openJournal(t, path); j.Contents().Compacted || j.Contents().Items != 3 {
		t.Errorf("a file that cannot be locked: got %+v, want 3 items and no compaction", j.Contents())
	}
}

// Any other error of a sync ends the run, because the disk may have lost records.
func TestAJournalThatFailsToSyncIsAnError(t *testing.T) {
	if !alone(t) {
		return
	}
	if err := refuse.Calls(map[uintptr]unix.Errno{unix.SYS_FSYNC: unix.EIO}); err != nil {
		t.Fatal(err)
	}
	var failed *joblog.WriteError
	if _, err := joblog.Open(joblog.Config{Path: newPath(t), Origin: origin}); !errors.As(err, &failed) || !errors.Is(err, unix.EIO) {
		t.Errorf("Open: got %v, want a WriteError of EIO", err)
	}
}
