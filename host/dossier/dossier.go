package dossier

import (
	"bytes"
	"crypto/sha256"
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
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/plain"
	"github.com/parhost/parhost/internal/wire"
)

// Dossier is everything that is known about an item that failed. The file holds it as JSON.
type Dossier struct {
	Item []byte `json:"-"` // text of the item, exactly as given; the file has it as "item", "item_text" or "item_base64"

	Kind     host.Kind  `json:"kind"`                // what happened
	Message  string     `json:"message"`             // error in words
	Offset   int        `json:"offset,omitempty"`    // bad_item: position in bytes, from 1, at which the JSON text becomes invalid; 0 if unknown
	Size     int64      `json:"size,omitempty"`      // oversize: measured size in bytes
	ExitCode *int       `json:"exit_code,omitempty"` // of the process that died; nil if no process died, or if a signal ended it
	Signal   string     `json:"signal,omitempty"`    // signal that ended the process, such as "SIGSEGV"; "" if none did
	Cause    host.Cause `json:"cause,omitempty"`     // why the process died that the item is blamed for; "" if none died
	Rusage   *Rusage    `json:"rusage,omitempty"`    // resources used by the process that died; nil if unknown

	Index    int     `json:"index"`    // index of the item in the input, from 0
	Attempts int     `json:"attempts"` // how often the item was begun
	Worker   int     `json:"worker"`   // number of the worker; 0 if the item never reached one
	PID      int     `json:"pid"`      // process of the worker
	WaitMS   float64 `json:"wait_ms"`  // milliseconds from reading the item to sending it to the worker
	RunMS    float64 `json:"run_ms"`   // milliseconds in the workload

	Origin  joblog.Origin   `json:"origin"`            // plugin and settings of the run
	Mode    host.Mode       `json:"mode"`              // mode of the run
	Limits  Limits          `json:"limits"`            // limits of the pool
	Sandbox *sandbox.Policy `json:"sandbox,omitempty"` // nil for processes without a sandbox
	Layers  []string        `json:"layers,omitempty"`  // sandbox layers around the workers, in words
	Program string          `json:"program,omitempty"` // name and version of the program that wrote the dossier
	Written time.Time       `json:"written"`           // when the dossier was written, in UTC

	Stack      []string `json:"stack,omitempty"`      // stack of a panic, by line
	Stderr     []string `json:"stderr,omitempty"`     // last lines of the process that died, preceded by those that say why it died
	Goroutines []string `json:"goroutines,omitempty"` // final output of the process that died, by line, such as the stacks of all goroutines
}

// Rusage is the CPU time and the memory that a process used in its life.
type Rusage struct {
	UserSeconds   float64 `json:"user_s"`                  // CPU time in user mode, in seconds
	SystemSeconds float64 `json:"system_s"`                // CPU time in the kernel, in seconds
	MaxRSSBytes   int64   `json:"max_rss_bytes,omitempty"` // peak resident set size in bytes; 0 if unknown
}

// Limits are the limits of the pool that an item may have exceeded. 0 means no limit, or the default.
type Limits struct {
	ItemTimeoutSeconds float64 `json:"item_timeout_s,omitempty"`   // time limit of one item, in seconds
	Retries            int     `json:"retries,omitempty"`          // extra attempts after a crash, a timeout or running out of memory
	Threads            int     `json:"threads,omitempty"`          // items that one worker process runs at once
	MaxItemBytes       int     `json:"max_item_bytes,omitempty"`   // largest item in bytes
	MaxResultBytes     int     `json:"max_result_bytes,omitempty"` // largest result in bytes
	ItemCPUSeconds     float64 `json:"item_cpu_s,omitempty"`       // limit of the CPU time of one item, in seconds
}

// texts are the forms of an item in a file. JSON stands in the file unchanged, other UTF-8 text as a string, and any other bytes as base64.
type texts struct {
	Format int             `json:"dossier"`
	JSON   json.RawMessage `json:"item,omitempty"`
	Text   *string         `json:"item_text,omitempty"`
	Bytes  []byte          `json:"item_base64,omitempty"`
}

// format is the version of the file format.
const format = 1

// Folder is a folder with one file for each item that failed. Open one with [Open]. The caller must close it.
type Folder struct {
	dir      string
	folder   *os.Root
	template Dossier
	key      []byte // nil if the dossiers are not signed
}

// Open opens the folder dir for the dossiers of a pool of cfg, and makes it if it does not exist. The error says why the folder cannot be
// made or written. If dir is later renamed or replaced, the files still go to the folder that was opened. program is the name and version of the
// calling program.
func Open(dir, program string, origin joblog.Origin, cfg host.Config) (*Folder, error) {
	folder, err := openFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("dossiers: %w", err)
	}
	mode := cfg.Mode
	if mode == "" {
		mode = host.ModeProcess
	}
	var policy *sandbox.Policy
	if !reflect.ValueOf(cfg.Sandbox).IsZero() {
		policy = &cfg.Sandbox
	}
	return &Folder{dir: dir, folder: folder, template: Dossier{
		Sandbox: policy,
		Origin:  origin, Mode: mode, Program: program,
		Limits: Limits{cfg.ItemTimeout.Seconds(), cfg.Retries, cfg.Threads, cfg.MaxItemBytes, cfg.MaxResultBytes, cfg.ItemCPU.Seconds()},
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

// Close closes the folder. It does not remove any dossier.
func (d *Folder) Close() error { return d.folder.Close() }

// Confined sets the sandbox layers that dossiers report, in the words of [host.Pool.Sandbox].
func (d *Folder) Confined(layers []string) { d.template.Layers = layers }

// Path returns the path of the dossier of an item, whether the file exists or not.
func (d *Folder) Path(index int, item []byte) string {
	return filepath.Join(d.dir, nameOf(index, item))
}

func nameOf(index int, item []byte) string {
	key := sha256.Sum256(bytes.TrimSpace(item)) // as in a joblog
	return fmt.Sprintf("item-%06d-%s.json", index, hex.EncodeToString(key[:6]))
}

// Write writes the dossier of an item that failed; r.Err must be set. It replaces an earlier dossier of the same item atomically. It does not sync
// the file, which would take milliseconds for each failure.
func (d *Folder) Write(item []byte, r *host.Result[json.RawMessage]) error {
	e := r.Err
	of := d.template
	of.Item, of.Index, of.Attempts, of.Worker, of.PID = item, r.Index, r.Attempts, r.Worker, r.PID
	of.WaitMS, of.RunMS = milliseconds(r.Wait), milliseconds(r.Run)
	of.Kind, of.Message, of.Offset, of.Size, of.Signal = e.Kind, e.Message, e.Offset, e.Size, e.Signal
	of.Cause = e.Cause
	if died := e.Kind == host.KindCrashed || e.Kind == host.KindOutOfMemory || e.Kind == host.KindTimeout; died && e.Signal == "" {
		of.ExitCode = &e.ExitCode
	}
	if u := e.Usage; u != nil {
		of.Rusage = &Rusage{u.User.Seconds(), u.System.Seconds(), u.MaxRSS}
	}
	of.Stack, of.Stderr, of.Goroutines = linesOf(e.Stack), e.Stderr, linesOf(e.Dump)
	of.Written = time.Now().UTC()
	text, err := of.encode()
	if err != nil {
		return err
	}
	if d.key != nil {
		text = addSignature(d.key, text)
	}
	if err := plain.Put(d.folder, nameOf(r.Index, item), 0o600, text); err != nil {
		return fmt.Errorf("write the dossier of item %d: %w", r.Index, err)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// linesOf splits a text into lines: in JSON, a list of lines is easier to read than one string with \n in it.
func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}

// encode returns the text of the file. It inserts a JSON item byte for byte, because every JSON encoder would reformat it.
func (d *Dossier) encode() ([]byte, error) {
	forms := texts{Format: format}
	switch bare := bytes.IndexByte(d.Item, '\n') < 0 && len(bytes.TrimSpace(d.Item)) == len(d.Item); {
	case bare && wire.IsJSON(d.Item):
		forms.JSON = json.RawMessage("0") // its place in the text, which the item takes below
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

// maxBytes is the largest file that is read, in bytes: an item of the default limit with each byte written as \u0000, and 64 MiB for the rest.
const maxBytes = 6*64<<20 + 64<<20

// Read reads a file that [Folder.Write] has written. It checks the form of the file and the ranges of its numbers, but anybody who can write
// to the file can change its contents: only [ReadSigned] tells whether a program with the key wrote it.
//
// The error says what is wrong with the file: it is not a regular file, is larger than 448 MiB, or is not a dossier.
func Read(path string) (*Dossier, error) {
	d, _, err := ReadSigned(path, nil)
	return d, err
}

// ReadSigned is [Read], and also reports whether the file is, byte for byte, a file that was signed with key.
func ReadSigned(path string, key []byte) (d *Dossier, signed bool, err error) {
	text, err := plain.Read(path, maxBytes)
	if err != nil {
		return nil, false, err
	}
	d, err = parse(path, text)
	return d, err == nil && isSigned(key, text), err
}

func parse(path string, text []byte) (*Dossier, error) {
	d := new(Dossier)
	var forms texts
	if err := json.Unmarshal(text, &forms); err != nil {
		return nil, fmt.Errorf("%s: is no dossier: %w", path, err)
	}
	switch {
	case forms.Format == 0 || forms.JSON == nil && forms.Text == nil && forms.Bytes == nil:
		return nil, fmt.Errorf("%s: is no dossier", path)
	case forms.Format != format:
		return nil, fmt.Errorf("%s: is a dossier of format %d, this program knows format %d", path, forms.Format, format)
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
