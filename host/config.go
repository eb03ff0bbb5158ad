package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/host/internal/child"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/sdk"
)

// Mode is where the items of a pool run.
type Mode string

// The modes.
const (
	Process    Mode = "process"    // in plugin processes, isolated from the host and from one another
	Goroutine  Mode = "goroutine"  // on goroutines of this process
	Sequential Mode = "sequential" // one after the other on one goroutine of this process
)

// Config says what a pool runs, and on what. Plugin or Workload must be set; the zero value of every other field is the default
// that its comment states.
type Config struct {
	// Plugin is the workload's name or the path of its executable, see [Find].
	Plugin string
	// PluginWorkload names the workload of an executable that serves several. Default: its only one.
	PluginWorkload string
	// PluginDirs are searched for parhost-plugin-NAME before the usual places.
	PluginDirs []string
	// Workload is linked into this program. Goroutine and Sequential run it directly. Process starts this program again as
	// the worker: its main must begin with [sdk.ServeChild].
	Workload *sdk.Workload

	// Checksum is the SHA-256 of the plugin's executable in hexadecimal, or that of this program for a Workload. [Open] fails with a
	// [*sandbox.ChecksumError] for another one. Default: whatever it is when the pool is opened. All workers run these bytes, whatever becomes of
	// the file's name. Where they are read again for each start (a script everywhere, every plugin on other systems than Linux), a start after they
	// have been changed fails with a [*sandbox.ChangedError].
	Checksum string

	Mode Mode // default Process

	// Workers is their number: from 1, or by joblib's rule -1 for one per CPU and -2 for all CPUs but one. Default -1.
	// Sequential always has one. The most is 65536, and on Linux what the limits of open files (12 for each worker process) and of processes
	// and threads (8 for each, in the user's limit and in pids.max) leave.
	Workers int
	// MinWorkers lets the pool size itself: it begins with so many workers, gets more, up to Workers, while batches wait for one, and lets
	// those go that have been idle for MaxIdle, then 10 s by default. Default 0: the pool always has Workers.
	MinWorkers int
	// Eager lets [Open] return as soon as one worker is ready. The others join in while items run; what keeps one from starting is
	// logged. Default: Open waits for all.
	Eager bool
	// Standby is how many worker processes more are started and set up, to take the place of those that end: a crash then costs no
	// start. Default 0.
	Standby int
	// Threads is how many batches one worker process runs at once, up to 65536. Default: what the manifest says, else 1.
	Threads int

	// Env is added to the environment of worker processes, as "KEY=value". Of the host's own environment they get only what
	// programs need to find their way (PATH, HOME, locale, time zone and the like), and no more CPUs than their share.
	Env []string
	// Dir is the working folder of worker processes. Default: the host's, when the process starts.
	Dir string
	// TempDir is where the pool's private folder of sockets is made. Its path must be short, and have no | and no line break in it. Default: the
	// system's folder for temporary files, or /tmp where that one is of no use.
	TempDir string

	// Sandbox confines worker processes and limits what they take. The zero value does neither. With any other, workers begin as
	// this program, which builds the walls from inside before its main. [Open] fails with an error that matches [sandbox.ErrNotSupported] if
	// the machine cannot give what is asked for.
	Sandbox sandbox.Policy

	// Batch is the number of items in a batch. Default 0: sized by measured time.
	Batch int
	// Window is how many batches are in a worker, waiting or running, for each of its threads, up to 65536. Default 2. No batch waits behind another
	// while items are found to take longer than 16 ms. For batches of microseconds a wide one is faster.
	Window int

	ItemTimeout  time.Duration // limit of one item. Default 0: none
	StartTimeout time.Duration // from exec to the manifest. Default 10 s
	SetupTimeout time.Duration // of the workload's Setup. Default 5 min
	Grace        time.Duration // from asking an item or a worker to end, to killing it. Default 500 ms
	// TeardownTimeout is how long a worker that is not needed any more may take for the workload's Teardown and its own end, after it has
	// ended its items. Then it is killed, or left behind if it is a goroutine. Close does not wait for it. Default 5 s.
	TeardownTimeout time.Duration

	// Inline sends all items and results in gRPC messages, even where memory and pipes could be shared.
	Inline bool

	// BufferBytes is what the pool's buffers may take together, see [NewBuffer]. They take it where they are touched, and up to so much may
	// stay taken until the pool has ended, also by a worker that looks where nothing is. Default 4 GiB, or 128 MiB where addresses have 32
	// bits, but no more than Sandbox.MemoryBytes.
	BufferBytes int

	MaxItemBytes   int // one item as it travels. Default 64 MiB
	MaxResultBytes int // one result as it travels. Default 64 MiB

	// MaxOutputBytes is how much a worker process may write on stdout and stderr beyond 4 MiB a second; one that writes more is killed. Default
	// 256 MiB. No more than 32 MiB a second are read.
	MaxOutputBytes int

	// Retries is how often an item is begun again after a crash, a timeout or running out of memory, if the manifest says
	// Idempotent. Default 0.
	Retries int
	// MemoryRetries is how often an item is begun again after it ran out of memory, which is not counted among the Retries. -1: never.
	// Default: as Retries.
	MemoryRetries int
	// RetryAlways retries items of workloads that are not idempotent too.
	RetryAlways bool

	// A worker process is replaced, between two batches, once it is beyond any of these. 0: never.
	MaxItems int           // items run
	MaxAge   time.Duration // since its start
	MaxRSS   int64         // resident bytes that are its own, looked at once a second
	MaxIdle  time.Duration // with nothing to run, after it has run something; looked at once a second

	Logger   hclog.Logger // gets the pool's own words and the workloads'. Default: discards
	Observer Observer     // sees every event of the pool. Default: none

	events *events      // for Observer; nil if there is none
	pulse  *pulse.Pulse // of this process while the pool lives
}

// withDefaults checks all fields and returns the config with its defaults filled in.
func (c Config) withDefaults() (Config, error) {
	if c.Mode == "" {
		c.Mode = Process
	}
	if c.Workers == 0 {
		c.Workers = -1
	}
	workers, err := CountWorkers(c.Workers)
	switch {
	case err != nil:
		return c, &ConfigError{"Workers", err.Error()}
	case c.Plugin == "" && c.Workload == nil:
		return c, &ConfigError{"Plugin", "neither Plugin nor Workload is set"}
	case c.Mode != Process && c.Mode != Goroutine && c.Mode != Sequential:
		return c, &ConfigError{"Mode", fmt.Sprintf("%q is none of process, goroutine, sequential", c.Mode)}
	case c.Mode != Process && c.Workload == nil:
		return c, &ConfigError{"Workload", fmt.Sprintf("mode %s runs a workload that is linked in, and %q is an executable", c.Mode, c.Plugin)}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MinWorkers", int64(c.MinWorkers)},
		{"Standby", int64(c.Standby)},
		{"Threads", int64(c.Threads)},
		{"Batch", int64(c.Batch)},
		{"Window", int64(c.Window)},
		{"ItemTimeout", int64(c.ItemTimeout)},
		{"StartTimeout", int64(c.StartTimeout)},
		{"SetupTimeout", int64(c.SetupTimeout)},
		{"Grace", int64(c.Grace)},
		{"TeardownTimeout", int64(c.TeardownTimeout)},
		{"BufferBytes", int64(c.BufferBytes)},
		{"MaxItemBytes", int64(c.MaxItemBytes)},
		{"MaxResultBytes", int64(c.MaxResultBytes)},
		{"MaxOutputBytes", int64(c.MaxOutputBytes)},
		{"Retries", int64(c.Retries)},
		{"MaxItems", int64(c.MaxItems)},
		{"MaxAge", int64(c.MaxAge)},
		{"MaxIdle", int64(c.MaxIdle)},
		{"MaxRSS", c.MaxRSS},
	} {
		if f.value < 0 {
			return c, &ConfigError{f.name, fmt.Sprintf("%d is negative", f.value)}
		}
	}
	for name, n := range map[string]int{"Workers": workers, "Standby": c.Standby, "Threads": c.Threads, "Window": c.Window} {
		if n > mostCount && (name != "Workers" || c.Mode != Sequential) {
			return c, &ConfigError{name, fmt.Sprintf("%d is more than the limit of %d", n, mostCount)}
		}
	}
	if c.MemoryRetries < -1 {
		return c, &ConfigError{"MemoryRetries", fmt.Sprintf("%d is less than -1, which is never", c.MemoryRetries)}
	}
	if c.Mode != Process && !reflect.ValueOf(c.Sandbox).IsZero() {
		return c, &ConfigError{"Sandbox", fmt.Sprintf("only processes can be confined, and the mode is %s", c.Mode)}
	}
	if c.Checksum != "" {
		if sum, err := hex.DecodeString(c.Checksum); err != nil || len(sum) != sha256.Size {
			return c, &ConfigError{"Checksum", fmt.Sprintf("%q is no SHA-256 in hexadecimal, which has %d digits", c.Checksum, 2*sha256.Size)}
		}
		if c.Mode != Process {
			return c, &ConfigError{"Checksum", fmt.Sprintf("only processes begin with their executable, and the mode is %s", c.Mode)}
		}
	}
	if c.MinWorkers > workers {
		return c, &ConfigError{"MinWorkers", fmt.Sprintf("%d is more than the %d that Workers allows", c.MinWorkers, workers)}
	}
	if c.Standby > 0 && c.Mode != Process {
		return c, &ConfigError{"Standby", fmt.Sprintf("only processes stand by, and the mode is %s", c.Mode)}
	}
	if c.MaxRSS > 0 && c.Mode == Process && !child.CanReadRSS {
		return c, &ConfigError{"MaxRSS", "the memory of a process cannot be read on " + runtime.GOOS}
	}
	for name, path := range map[string]*string{"Dir": &c.Dir, "TempDir": &c.TempDir, "Sandbox.TempDir": &c.Sandbox.TempDir} {
		if *path, err = fixed(*path); err != nil {
			return c, &ConfigError{name, err.Error()}
		}
	}
	counted := c.Workers < 0
	c.Workers = workers
	if c.Mode == Sequential {
		c.Workers, c.Window, c.MinWorkers = 1, 1, 0
	}
	if c.MinWorkers > 0 {
		fill(&c.MaxIdle, 10*time.Second)
	}
	if c.Plugin == "" {
		c.Plugin = c.Workload.Manifest().Name
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if possible, why := c.room(c.Workers + c.Standby); possible < c.Workers+c.Standby {
		if !counted || possible == 0 {
			return c, c.checkSupply(c.Workers+c.Standby, 0)
		}
		most := max(1, possible-c.Standby) // nobody has named a number
		c.Logger.Warn("there are fewer workers than CPUs, because a limit allows no more", "workers", most, "wanted", c.Workers, "reason", "workers "+why)
		c.Workers, c.MinWorkers = most, min(c.MinWorkers, most)
	}
	if c.Observer != nil {
		c.events = &events{observer: c.Observer, logger: c.Logger}
	}
	fill(&c.MemoryRetries, c.Retries)
	fill(&c.Window, 2)
	fill(&c.StartTimeout, 10*time.Second)
	fill(&c.SetupTimeout, 5*time.Minute)
	fill(&c.Grace, 500*time.Millisecond)
	fill(&c.TeardownTimeout, 5*time.Second)
	most := int64(defaultBufferBytes)
	if limit := c.Sandbox.MemoryBytes; limit > 0 {
		most = min(most, limit)
	}
	fill(&c.BufferBytes, int(most))
	fill(&c.MaxItemBytes, wire.DefaultMaxItemBytes)
	fill(&c.MaxResultBytes, wire.DefaultMaxResultBytes)
	fill(&c.MaxOutputBytes, 256<<20)
	return c, nil
}

// fixed makes a relative path absolute: it leads to the same place also when the program has changed its working folder. The path is not cleaned,
// because the kernel takes link/.. for the folder above the link's target.
func fixed(path string) (string, error) {
	switch {
	case path == "" || filepath.IsAbs(path):
		return path, nil
	case runtime.GOOS == "windows": // where a path can be relative to a drive
		return filepath.Abs(path)
	}
	here, err := os.Getwd()
	return here + string(filepath.Separator) + path, err
}

// defaultBufferBytes is address space first of all: 128 MiB where addresses have 32 bits.
const defaultBufferBytes = min(4<<30, math.MaxInt/16+1)

func fill[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// CountWorkers applies joblib's rule: n from 1 is itself, -1 is every CPU, -2 all but one and so on, but at least one. CPUs are
// those that this process may use, by affinity and by its container's quota. 0 is an error.
func CountWorkers(n int) (int, error) {
	switch {
	case n > 0:
		return n, nil
	case n < 0:
		return max(1, countCPUs()+1+n), nil
	default:
		return 0, fmt.Errorf("0 workers can do nothing: give 1 or more, or -1 for one per CPU")
	}
}

// countCPUs is how many CPUs this process may use, by affinity, by its container's quota, and by GOMAXPROCS.
func countCPUs() int {
	cpus := runtime.GOMAXPROCS(0)
	if cpus == 2 { // Go counts two for any smaller quota
		if quota := cpuQuota(); quota == 1 {
			return 1
		}
	}
	return cpus
}

// checkResponse refuses what would take many times its size in memory.
func (c *Config) checkResponse(message []byte) error {
	return wire.CheckResponse(message, max(c.Batch, mostPlaces))
}

// messageBytes bounds a message from a worker.
func (c *Config) messageBytes() int { return c.MaxResultBytes + wire.BatchBytes + wire.MessageSlack }
