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
	"github.com/parhost/parhost/internal/cgroup"
	"github.com/parhost/parhost/internal/pulse"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
	"github.com/parhost/parhost/sdk"
)

// Mode is where the items of a pool run: "process", "goroutine" or "sequential".
type Mode = protocol.Mode

// The modes.
const (
	ModeProcess    = protocol.ModeProcess    // in plugin processes, isolated from the host and from one another
	ModeGoroutine  = protocol.ModeGoroutine  // on goroutines of this process
	ModeSequential = protocol.ModeSequential // one after the other on one goroutine of this process
)

// Config says which workload a pool runs, and with which workers. Plugin or Workload must be set. Each other field that is zero has the default that its
// comment states.
type Config struct {
	// Plugin is the workload's name or the path of its executable, see [Find].
	Plugin string
	// PluginWorkload names the workload to run if the executable serves several. Default: its only workload.
	PluginWorkload string
	// PluginDirs are searched for parhost-plugin-NAME before the usual folders.
	PluginDirs []string
	// Workload is a workload that is linked into this program. ModeGoroutine and ModeSequential run it directly. ModeProcess starts this program again as the worker, so its
	// main must begin with [sdk.ServeChild].
	Workload sdk.AnyWorkload

	// Checksum is the SHA-256, in hexadecimal, of the plugin's executable, or of this program for a Workload. [Open] fails with a [*sandbox.ChecksumError] if the
	// file has another one. Default: the file that is there when the pool is opened.
	//
	// All workers run these bytes, even if the file is renamed or replaced. Some files are read again for each start: a script on every system, and every plugin
	// on systems other than Linux. If such a file has changed, a start fails with a [*sandbox.ChangedError].
	Checksum string

	Mode Mode // default ModeProcess

	// Workers is the number of workers: 1 or more, or by joblib's rule -1 for one per CPU and -2 for one fewer than CPUs. Default -1. A pool of ModeSequential always has one worker.
	// The maximum is 65536. On Linux it is also what the limit of open files (12 for each worker process) and the limits of processes and threads (8 for each
	// worker process; the user's limit and pids.max) leave.
	Workers int
	// MinWorkers makes the pool size itself: it starts with MinWorkers, adds workers, up to Workers, while batches wait for one, and ends workers that have been
	// idle for MaxIdle, whose default then is 10 s. Default 0: the pool always has Workers.
	MinWorkers int
	// Eager makes [Open] return as soon as one worker is ready. The others join while items run, and the pool logs why one could not start. Default: Open waits
	// for all.
	Eager bool
	// Standby is the number of additional worker processes that are started and set up in advance. One of them replaces a worker that ends, so a crash costs no
	// start. Default 0.
	Standby int
	// Threads is the number of batches that one worker process runs at once, up to 65536. Default: the manifest's number, else 1.
	Threads int

	// Env is added to the environment of worker processes, as "KEY=value". From the host's own environment they get only variables that programs need to find
	// their way (PATH, HOME, locale, time zone and the like). Other variables limit them to their share of the CPUs.
	Env []string
	// Dir is the working folder of worker processes. Default: the host's working folder when the process starts.
	Dir string
	// TempDir is the folder in which the pool makes its private folder of sockets. Its path must be short, and contain no | and no line break. Default: the
	// system's folder for temporary files, or /tmp if that folder cannot be used.
	TempDir string

	// Sandbox confines worker processes and limits the resources that they take. The zero value does neither. With any other value, workers start as this program,
	// which sets up the sandbox from inside before its main. [Open] fails with an error that matches [sandbox.ErrNotSupported] if the machine cannot give what the
	// policy asks for.
	Sandbox sandbox.Policy

	// Batch is the number of items in a batch. Default 0: sized by measured time.
	Batch int
	// Window is the number of batches, waiting or running, that a worker has for each of its threads, up to 65536. Default 2. No batch waits behind another one
	// while items are measured to take longer than 16 ms. For batches of microseconds a wide window is faster.
	Window int

	ItemTimeout time.Duration // time limit of one item. Default 0: none
	// ItemCPU limits the CPU time of one item. The time of processes that the worker has started and waited for counts too. Each worker runs one item at a time
	// if the limit is set. The host reads the CPU time of a worker eight times in the span of the limit, but not more often than every 10 ms, so an item may
	// exceed the limit by that much. The limit needs worker processes on Linux. The default is 0, which means no limit.
	ItemCPU      time.Duration
	StartTimeout time.Duration // time from exec to the manifest. Default 10 s
	SetupTimeout time.Duration // time limit of the workload's Setup. Default 5 min
	Grace        time.Duration // time from asking an item or a worker to end, to killing it. Default 500 ms
	// TeardownTimeout is how long a worker that is no longer needed may take for the workload's Teardown and for exiting, after its items have ended. Then a
	// process is killed, and a goroutine is left behind. Close does not wait for this time. Default 5 s.
	TeardownTimeout time.Duration

	// Inline sends all items and results in gRPC messages, even where memory and sockets could be shared.
	Inline bool

	// BufferBytes limits the memory of all the pool's buffers together, see [NewBuffer]. A buffer takes memory where it is touched. Up to BufferBytes may stay
	// taken until the pool has ended, also because a worker reads parts that hold nothing. Default 4 GiB, or 128 MiB where addresses have 32 bits, but no more
	// than Sandbox.MemoryBytes.
	BufferBytes int

	MaxItemBytes   int // bytes of one encoded item. Default 64 MiB
	MaxResultBytes int // bytes of one encoded result. Default 64 MiB

	// MaxOutputBytes is the number of bytes that a worker process may write on stdout and stderr beyond 4 MiB a second. A worker that writes more is killed.
	// Default 256 MiB. The host reads at most 32 MiB a second.
	MaxOutputBytes int

	// Retries is how often an item is started again after a crash, a timeout or running out of memory, if the manifest says Idempotent. Default 0.
	Retries int
	// MemoryRetries is how often an item is started again after it ran out of memory. These attempts do not count among the Retries. -1: never. Default: the value
	// of Retries.
	MemoryRetries int
	// RetryAlways also retries items of workloads that are not idempotent.
	RetryAlways bool

	// A worker process is replaced, between two batches, once it exceeds any of these limits. 0: no limit.
	MaxItems int           // items run
	MaxAge   time.Duration // time since its start
	MaxRSS   int64         // resident bytes, without shared memory; checked once a second
	MaxIdle  time.Duration // time without items, after it has run some; checked once a second

	Logger   hclog.Logger // gets the log lines of the pool and of the workloads. Default: discards them
	Observer Observer     // sees every event of the pool. Default: none

	events *events      // for Observer; nil if there is none
	pulse  *pulse.Pulse // of this process while the pool lives
}

// withDefaults checks all fields and returns the config with its defaults filled in.
func (c Config) withDefaults() (Config, error) {
	if c.Mode == "" {
		c.Mode = ModeProcess
	}
	if w := reflect.ValueOf(c.Workload); w.Kind() == reflect.Pointer && w.IsNil() {
		c.Workload = nil
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
	case c.Mode != ModeProcess && c.Mode != ModeGoroutine && c.Mode != ModeSequential:
		return c, &ConfigError{"Mode", fmt.Sprintf("%q is none of process, goroutine, sequential", c.Mode)}
	case c.Mode != ModeProcess && c.Workload == nil:
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
		{"ItemCPU", int64(c.ItemCPU)},
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
		if n > maxCount && (name != "Workers" || c.Mode != ModeSequential) {
			return c, &ConfigError{name, fmt.Sprintf("%d is more than the limit of %d", n, maxCount)}
		}
	}
	if c.MemoryRetries < -1 {
		return c, &ConfigError{"MemoryRetries", fmt.Sprintf("%d is less than -1, which is never", c.MemoryRetries)}
	}
	if c.Mode != ModeProcess && !reflect.ValueOf(c.Sandbox).IsZero() {
		return c, &ConfigError{"Sandbox", fmt.Sprintf("only processes can be confined, and the mode is %s", c.Mode)}
	}
	if c.Checksum != "" {
		if sum, err := hex.DecodeString(c.Checksum); err != nil || len(sum) != sha256.Size {
			return c, &ConfigError{"Checksum", fmt.Sprintf("%q is no SHA-256 in hexadecimal, which has %d digits", c.Checksum, 2*sha256.Size)}
		}
		if c.Mode != ModeProcess {
			return c, &ConfigError{"Checksum", fmt.Sprintf("only processes begin with their executable, and the mode is %s", c.Mode)}
		}
	}
	if c.MinWorkers > workers {
		return c, &ConfigError{"MinWorkers", fmt.Sprintf("%d is more than the %d that Workers allows", c.MinWorkers, workers)}
	}
	if c.Standby > 0 && c.Mode != ModeProcess {
		return c, &ConfigError{"Standby", fmt.Sprintf("only processes stand by, and the mode is %s", c.Mode)}
	}
	switch {
	case c.ItemCPU == 0:
	case c.Mode != ModeProcess:
		return c, &ConfigError{"ItemCPU", fmt.Sprintf("only processes have CPU time of their own, and the mode is %s", c.Mode)}
	case c.Threads > 1:
		return c, &ConfigError{"ItemCPU", fmt.Sprintf("a process says what it uses and not what each of its items does, and Config.Threads is %d", c.Threads)}
	case !child.CanReadCPU:
		return c, &ConfigError{"ItemCPU", "the CPU time of a process cannot be read on " + runtime.GOOS}
	default:
		c.Threads = 1
	}
	if c.MaxRSS > 0 && c.Mode == ModeProcess && !child.CanReadRSS {
		return c, &ConfigError{"MaxRSS", "the memory of a process cannot be read on " + runtime.GOOS}
	}
	for name, path := range map[string]*string{"Dir": &c.Dir, "TempDir": &c.TempDir, "Sandbox.TempDir": &c.Sandbox.TempDir} {
		if *path, err = fixed(*path); err != nil {
			return c, &ConfigError{name, err.Error()}
		}
	}
	counted := c.Workers < 0
	c.Workers = workers
	if c.Mode == ModeSequential {
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
		most := max(1, possible-c.Standby) // the user has not set the number, so a smaller one is allowed
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

// fixed makes a relative path absolute, so that it leads to the same place after the program has changed its working folder. It does not clean the path,
// because the kernel resolves link/.. to the folder above the link's target.
func fixed(path string) (string, error) {
	switch {
	case path == "" || filepath.IsAbs(path):
		return path, nil
	case runtime.GOOS == "windows": // a path there can be relative to a drive
		return filepath.Abs(path)
	}
	here, err := os.Getwd()
	return here + string(filepath.Separator) + path, err
}

// defaultBufferBytes is the default of Config.BufferBytes. It costs mostly address space, so it is 128 MiB where addresses have 32 bits.
const defaultBufferBytes = min(4<<30, math.MaxInt/16+1)

func fill[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// CountWorkers applies joblib's rule: a positive n is the number itself, -1 is one per CPU, -2 one fewer than CPUs and so on, but at least one. It counts the
// CPUs that this process may use, by its affinity and by its container's quota. 0 is an error.
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

// countCPUs returns how many CPUs this process may use, by its affinity, by its container's quota, and by GOMAXPROCS.
func countCPUs() int {
	cpus := runtime.GOMAXPROCS(0)
	if cpus == 2 { // Go returns two for any quota below two
		if quota := cgroup.CPUQuota(); 0 < quota && quota <= 1 {
			return 1
		}
	}
	return cpus
}

// checkResponse refuses a message that would take many times its size in memory when it is decoded.
func (c *Config) checkResponse(message []byte) error {
	return wire.CheckResponse(message, max(c.Batch, maxPlaces))
}

// messageBytes returns the most bytes of a message from a worker.
func (c *Config) messageBytes() int { return c.MaxResultBytes + wire.BatchBytes + wire.MessageSlack }
