package joblog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
)

// Origin describes what results depend on besides their items.
type Origin struct {
	Workload string `json:"workload,omitempty"` // name of the workload if it is linked into the program; "" for a plugin
	SHA256   string `json:"sha256"`             // of the executable, in hexadecimal
	Plugin   string `json:"plugin"`             // path of the executable, for people only: a copy elsewhere counts as the same plugin
	// Arguments are settings by name. Give a digest instead of a value that may be secret.
	Arguments map[string]string `json:"arguments,omitempty"`
	// Seed determines the random numbers of the items; see [host.WithSeed]. If it is nil, the journal uses the seed that it holds, or draws a new
	// one.
	Seed *uint64 `json:"seed,omitempty"`
}

// OriginOf returns the origin of the results of a pool with cfg: its executable (this program, for a linked workload), its working folder, and the
// variables that it adds to the environment, each as the first half of the SHA-256 of its entry.
//
// A journal checks that its pool runs this executable; see [Origin.Check]. Other files that the plugin reads, such as the modules of a script, are
// not part of the origin. The error matches [host.ErrNotFound] if the plugin does not exist.
func OriginOf(cfg host.Config) (Origin, error) {
	var o Origin
	var err error
	if cfg.Workload != nil {
		o.Workload = cfg.Workload.Manifest().Name
		o.Plugin, err = os.Executable()
	} else {
		o.Plugin, err = host.Find(cfg.Plugin, cfg.PluginDirs...)
	}
	if err != nil {
		return o, err
	}
	if o.SHA256 = strings.ToLower(cfg.Checksum); o.SHA256 == "" { // with a Checksum, the pool runs no other plugin
		source := o.Plugin
		if cfg.Workload != nil { // another file may have replaced the executable of this program
			source, err = sandbox.Self()
		}
		if err == nil {
			o.SHA256, err = sandbox.Checksum(source)
		}
		if err != nil {
			return o, fmt.Errorf("checksum of the plugin: %w", err)
		}
	}
	if cfg.PluginWorkload != "" {
		o.set(workloadArgument, cfg.PluginWorkload)
	}
	for _, entry := range cfg.Env {
		name, _, _ := strings.Cut(entry, "=")
		sum := sha256.Sum256([]byte(entry))
		o.set("env "+name, hex.EncodeToString(sum[:16]))
	}
	if cfg.Dir != "" {
		dir, err := filepath.Abs(cfg.Dir)
		if err != nil {
			return o, err
		}
		o.set("dir", dir)
	}
	return o, nil
}

// Check returns a [*sandbox.ChangedError] if the pool runs another executable than the origin's: the file was replaced between [OriginOf] and
// [host.Open]. It checks neither workloads inside this program nor executables that cannot be read.
func (o *Origin) Check(pool *host.Pool) error {
	if o.Workload != "" || o.SHA256 == "" {
		return nil
	}
	if got := pool.Checksum(); got != "" && got != o.SHA256 {
		return &sandbox.ChangedError{Path: o.Plugin, Err: fmt.Errorf("it had the SHA-256 %s, and its workers have %s", o.SHA256, got)}
	}
	return nil
}

// workloadArgument is the name of the argument that holds the workload's name, for a plugin that serves several workloads.
const workloadArgument = "workload"

// PluginWorkload returns the name of the workload for a plugin that serves several, or "".
func (o *Origin) PluginWorkload() string { return o.Arguments[workloadArgument] }

func (o *Origin) set(name, value string) {
	if o.Arguments == nil {
		o.Arguments = map[string]string{}
	}
	o.Arguments[name] = value
}

// Differences describes in words how o differs from was, one text for each difference. was may come from a file that anybody has written, so its
// texts are shortened and stripped of control sequences.
func (o *Origin) Differences(was *Origin) []string {
	var list []string
	if o.Workload != was.Workload {
		list = append(list, fmt.Sprintf("the workload was %q and is %q", bound.Text(was.Workload, maxWord), o.Workload))
	}
	if o.SHA256 != was.SHA256 {
		list = append(list, fmt.Sprintf("the plugin was %s with SHA-256 %s and is %s with %s", word(was.Plugin), word(begin(was.SHA256)), word(o.Plugin), begin(o.SHA256)))
	}
	switch {
	case o.Seed == nil:
	case was.Seed == nil:
		list = append(list, fmt.Sprintf("the seed was not written down and is %d", *o.Seed))
	case *o.Seed != *was.Seed:
		list = append(list, fmt.Sprintf("the seed was %d and is %d", *was.Seed, *o.Seed))
	}
	names := slices.Collect(maps.Keys(o.Arguments))
	for name := range was.Arguments {
		if _, is := o.Arguments[name]; !is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		before, had := was.Arguments[name]
		now, has := o.Arguments[name]
		switch {
		case !had:
			list = append(list, word(name)+" was not set and is")
		case !has:
			list = append(list, word(name)+" was set and is not")
		case before != now:
			list = append(list, word(name)+" has another value")
		}
	}
	return list
}

// maxWord is how many bytes of a text Differences shows.
const maxWord = 1 << 10

// word returns a text from a file in a form that is safe in a message.
func word(text string) string { return wire.Plain(bound.Text(text, maxWord)) }

// begin returns the first digits of a checksum, enough to tell it from another.
func begin(sum string) string { return sum[:min(12, len(sum))] }

// header is the first line of a journal. A later header line stands wherever the origin of the results has changed.
type header struct {
	Format  int    `json:"joblog"`
	Program string `json:"program,omitempty"`
	Origin
	Began time.Time `json:"began"`
}

// format is the version of the file format that this package writes, and the only one that it reads.
const format = 1

// magic is the beginning of a journal of any version.
const magic = `{"joblog":`

func isHeader(line []byte) bool { return bytes.HasPrefix(line, []byte(magic)) }

// appendHeader appends the line of a header.
func appendHeader(dst []byte, h *header) []byte {
	from := len(dst)
	text, err := json.Marshal(h)
	if err != nil { // no field of header can fail to encode
		panic(err)
	}
	return seal(append(dst, text[:len(text)-1]...), from)
}

// parseHeader parses a header line without its line break. It returns false if the line is damaged or is not a header.
func parseHeader(line []byte) (h header, ok bool) {
	text, ok := unseal(line)
	if !ok {
		return h, false
	}
	if len(line) >= maxHeader || !isHeader(text) {
		return h, false
	}
	err := json.Unmarshal(append(slices.Clip(text), '}'), &h)
	return h, err == nil
}
