//go:build unix

package dossier_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
	"github.com/parhost/parhost/internal/plain"
)

func TestADossierGoesIntoItsFolderAndThroughNoLink(t *testing.T) {
	base, outside := t.TempDir(), t.TempDir()
	dir, item := filepath.Join(base, "d"), []byte("1")
	files := openDossiers(t, dir)
	writeFile(t, filepath.Join(outside, "victim"), []byte("kept"))
	if err := os.Symlink(filepath.Join(outside, "victim"), files.Path(0, item)); err != nil {
		t.Fatal(err)
	}
	write := func() {
		r := host.Result[json.RawMessage]{Err: &host.ItemError{Kind: host.KindFailed, Message: "x"}}
		if err := files.Write(item, &r); err != nil {
			t.Error(err)
		}
	}
	write()
	if d, err := dossier.Read(files.Path(0, item)); err != nil || d.Message != "x" {
		t.Errorf("in the place of a link: got %+v and %v", d, err)
	}
	if got := string(readFile(t, filepath.Join(outside, "victim"))); got != "kept" {
		t.Errorf("what was linked: got %q, want it as it was", got)
	}
	if err := errors.Join(os.Rename(dir, base+"/away"), os.Symlink(outside, dir)); err != nil {
		t.Fatal(err)
	}
	write()
	if names, err := os.ReadDir(outside); err != nil || len(names) != 1 {
		t.Errorf("where the folder's name leads now: got %v and %v, want what was there", names, err)
	}
}

func TestWhatIsNoPlainFileIsNoDossier(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(unix.Mkfifo(dir+"/pipe", 0o600), os.Symlink("/dev/zero", dir+"/device"), os.WriteFile(dir+"/large", nil, 0o600), os.Truncate(dir+"/large", 1<<40)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "device", "large"} {
		_, err := dossier.Read(dir + "/" + name)
		if !errors.As(err, new(*plain.KindError)) && !errors.As(err, new(*plain.SizeError)) {
			t.Errorf("%s: got %v, want that it is no plain file, or too large", name, err)
		}
	}
}

func TestADossierOfImpossibleLimitsIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dossier")
	for _, limits := range []string{`{"item_timeout_s":1e300}`, `{"item_timeout_s":-1}`, `{"max_item_bytes":-1}`, `{"max_result_bytes":-5}`} {
		writeFile(t, path, []byte(`{"dossier":1,"item":1,"limits":`+limits+`}`))
		if d, err := dossier.Read(path); err == nil || !strings.Contains(err.Error(), "out of range") {
			t.Errorf("%s: got %+v and %v, want that it is out of range", limits, d, err)
		}
	}
}
