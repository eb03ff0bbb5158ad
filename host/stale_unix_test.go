//go:build unix

package host

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// A folder is its host's from the moment it is there, whoever sweeps just then.
func TestAFolderThatIsBeingMadeIsNotSweptAway(t *testing.T) {
	base := t.TempDir()
	done := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for !isClosed(done) {
			sweep(base)
		}
	})
	for n := range 500 {
		dir := fmt.Sprintf("%s/parhost-1-%d", base, n)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := lockDir(dir)
		if err != nil {
			t.Errorf("lock a folder while another host sweeps: got %v", err)
			break
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("a folder that is locked: got %v, want it there", err)
			break
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		lock.Close()
	}
	close(done)
	sweeper.Wait()
}

func TestAFolderWithoutALockGoesWhenItIsOld(t *testing.T) {
	base := t.TempDir()
	for name, left := range map[string]string{"nothing": "", "a lock that was not finished": lockName + ".new"} {
		dir := fmt.Sprintf("%s/parhost-1-%d", base, len(left))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if left != "" {
			if err := os.WriteFile(dir+"/"+left, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sweep(base)
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("a young folder with %s: got %v, want it left alone", name, err)
		}
		old := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
		sweep(base)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("an old folder with %s is still there", name)
		}
	}
}
