package joblog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// Dossier is all that is known of an item that failed.
type Dossier struct {
	Item []byte `json:"-"` // its text, exactly as it was given; "item", "item_text" or "item_base64" in the file

	Kind     host.Kind  `json:"kind"`
	Message  string     `json:"message"`
	Offset   int        `json:"offset,omitempty"`
	Size     int64      `json:"size,omitempty"`
	ExitCode *int       `json:"exit_code,omitempty"` // of the process that died; nil if none did, or a signal ended it
	Signal   string     `json:"signal,omitempty"`
	Cause    host.Cause `json:"cause,omitempty"`  // why the process died, if one did
	Rusage   *Rusage    `json:"rusage,omitempty"` // of the process that died

	Index    int     `json:"index"`
	Attempts int     `json:"attempts"`
	Worker   int     `json:"worker"`
	PID      int     `json:"pid"`
	WaitMS   float64 `json:"wait_ms"`
	RunMS    float64 `json:"run_ms"`

	Origin  Origin          `json:"origin"`
	Mode    host.Mode       `json:"mode"`
	Limits  Limits          `json:"limits"`
	Sandbox *sandbox.Policy `json:"sandbox,omitempty"` // nil for plain processes
	Layers  []string        `json:"layers,omitempty"`  // what stood around them, in words
	Program string          `json:"program,omitempty"`
	Written time.Time       `json:"written"`

	Stack      []string `json:"stack,omitempty"`      // of a panic
	Stderr     []string `json:"stderr,omitempty"`     // the last lines of the process that died
	Goroutines []string `json:"goroutines,omitempty"` // what it wrote from its last words on
}

// Rusage is what a process had used.
type Rusage struct {
	UserSeconds   float64 `json:"user_s"`
	SystemSeconds float64 `json:"system_s"`
	MaxRSSBytes   int64   `json:"max_rss_bytes,omitempty"`
}

// Limits are those of a pool that an item may have failed on. 0 is none, or the default.
type Limits struct {
	ItemTimeoutSeconds float64 `json:"item_timeout_s,omitempty"`
	Retries            int     `json:"retries,omitempty"`
	Threads            int     `json:"threads,omitempty"`
	MaxItemBytes       int     `json:"max_item_bytes,omitempty"`
	MaxResultBytes     int     `json:"max_result_bytes,omitempty"`
}

// texts are the forms of an item in a file: JSON as it is, other text, any bytes.
type texts struct {
	Format int             `json:"dossier"`
	JSON   json.RawMessage `json:"item,omitempty"`
	Text   *string         `json:"item_text,omitempty"`
	Bytes  []byte          `json:"item_base64,omitempty"`
}

// dossierFormat is the version of the form of the files.
const dossierFormat = 1

// Dossiers is a folder with a file for each item that failed. It is to be closed.
type Dossiers struct {
	dir      string
	folder   *os.Root
	template Dossier
	key      []byte // nil if they are not signed
}

// OpenDossiers makes a folder for the dossiers of a pool of cfg, if it is not there, and finds out whether it can be written. The files go
// there, wherever the folder's name leads to by then.
func OpenDossiers(dir, program string, origin Origin, cfg host.Config) (*Dossiers, error) {
	folder, err := openFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("dossiers: %w", err)
	}
	mode := cfg.Mode
	if mode == "" {
		mode = host.Process
	}
	var policy *sandbox.Policy
	if !reflect.ValueOf(cfg.Sandbox).IsZero() {
		policy = &cfg.Sandbox
	}
	return &Dossiers{dir: dir, folder: folder, template: Dossier{
		Sandbox: policy,
		Origin:  origin, Mode: mode, Program: program,
		Limits: Limits{cfg.ItemTimeout.Seconds(), cfg.Retries, cfg.Threads, cfg.MaxItemBytes, cfg.MaxResultBytes},
	}}, nil
}

func openFolder(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	folder, err := plain.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	if err := plain.Check(folder); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder, nil
}

// Close lets go of the folder.
func (d *Dossiers) Close() error { return d.folder.Close() }

// Confined lets dossiers say what stands around the workers, in the words of [host.Pool.Sandbox].
func (d *Dossiers) Confined(layers []string) { d.template.Layers = layers }

// Path returns the file of the dossier of an item.
func (d *Dossiers) Path(index int, item []byte) string {
	return filepath.Join(d.dir, dossierName(index, item))
}

func dossierName(index int, item []byte) string {
	key := keyOf(item)
	return fmt.Sprintf("item-%06d-%s.json", index, hex.EncodeToString(key[:6]))
}

// Write writes the dossier of an item with its error. An earlier one of the same item is replaced, in one step. It is not synced: that would take
// a run of many failures milliseconds for each.
func (d *Dossiers) Write(item []byte, r *host.Result[json.RawMessage]) error {
	e := r.Err
	dossier := d.template
	dossier.Item, dossier.Index, dossier.Attempts, dossier.Worker, dossier.PID = item, r.Index, r.Attempts, r.Worker, r.PID
	dossier.WaitMS, dossier.RunMS = milliseconds(r.Wait), milliseconds(r.Run)
	dossier.Kind, dossier.Message, dossier.Offset, dossier.Size, dossier.Signal = e.Kind, e.Message, e.Offset, e.Size, e.Signal
	dossier.Cause = e.Cause
	if died := e.Kind == host.Crashed || e.Kind == host.OutOfMemory || e.Kind == host.Timeout; died && e.Signal == "" {
		dossier.ExitCode = &e.ExitCode
	}
	if u := e.Usage; u != nil {
		dossier.Rusage = &Rusage{u.User.Seconds(), u.System.Seconds(), u.MaxRSS}
	}
	dossier.Stack, dossier.Stderr, dossier.Goroutines = linesOf(e.Stack), e.Stderr, linesOf(e.Dump)
	dossier.Written = time.Now().UTC()
	text, err := dossier.encode()
	if err != nil {
		return err
	}
	if d.key != nil {
		text = addSignature(d.key, text)
	}
	if err := plain.Put(d.folder, dossierName(r.Index, item), 0o600, text); err != nil {
		return fmt.Errorf("write the dossier of item %d: %w", r.Index, err)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// linesOf cuts a text into lines, which are easier to read than one with \n in it.
func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}

// encode returns the file. The item stands there as it is, which no encoder leaves it.
func (d *Dossier) encode() ([]byte, error) {
	forms := texts{Format: dossierFormat}
	switch bare := bytes.IndexByte(d.Item, '\n') < 0 && len(bytes.TrimSpace(d.Item)) == len(d.Item); {
	case bare && wire.IsJSON(d.Item):
		forms.JSON = json.RawMessage("0") // stands for it
	case utf8.Valid(d.Item):
		text := string(d.Item)
		forms.Text = &text
	default:
		forms.Bytes = d.Item
	}
	var b bytes.Buffer
	for _, part := range []any{forms, d} {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(part); err != nil {
			return nil, err
		}
	}
	file := bytes.Replace(b.Bytes(), []byte("\n}\n{\n"), []byte(",\n"), 1)
	if forms.JSON != nil {
		file = bytes.Replace(file, []byte(`"item": 0`), append([]byte(`"item": `), d.Item...), 1)
	}
	return file, nil
}

// mostDossier is the size of a file with the largest item of the default limit, each byte of it as \u0000, and the rest.
const mostDossier = 6*64<<20 + 64<<20

// ReadDossier reads a file that Write has written. What it returns is as true as whoever can write to the file: it is of the right form, and
// its numbers are in their ranges, but only [ReadSignedDossier] says whether there was such a run.
//
// The error says what is wrong with the file: it is no plain file, or has more than 448 MiB, or is no dossier.
func ReadDossier(path string) (*Dossier, error) {
	d, _, err := ReadSignedDossier(path, nil)
	return d, err
}

// ReadSignedDossier is [ReadDossier], and reports whether the file is, byte for byte, one that was signed with a key.
func ReadSignedDossier(path string, key []byte) (d *Dossier, signed bool, err error) {
	text, err := plain.Read(path, mostDossier)
	if err != nil {
		return nil, false, err
	}
	d, err = parseDossier(path, text)
	return d, err == nil && isSigned(key, text), err
}

func parseDossier(path string, text []byte) (*Dossier, error) {
	d := new(Dossier)
	var forms texts
	if err := json.Unmarshal(text, &forms); err != nil {
		return nil, fmt.Errorf("%s: is no dossier: %w", path, err)
	}
	switch {
	case forms.Format == 0 || forms.JSON == nil && forms.Text == nil && forms.Bytes == nil:
		return nil, fmt.Errorf("%s: is no dossier", path)
	case forms.Format != dossierFormat:
		return nil, fmt.Errorf("%s: is a dossier of format %d, this program knows format %d", path, forms.Format, dossierFormat)
	}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%s: is no dossier: %w", path, err)
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%s: is no dossier: %w", path, err)
	}
	switch {
	case forms.JSON != nil:
		d.Item = forms.JSON
	case forms.Text != nil:
		d.Item = []byte(*forms.Text)
	default:
		d.Item = forms.Bytes
	}
	return d, nil
}
