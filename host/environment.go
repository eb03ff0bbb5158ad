package host

import (
	"os"
	"strconv"
	"strings"

	"github.com/parhost/parhost/internal/arena"
	"github.com/parhost/parhost/internal/wire"
)

// passedOn are the variables of the host's environment that a worker gets, besides those of Config.Env. GORACE is for the race detector: by default it makes a
// process wait for a second before it ends, and GORACE can say otherwise.
var passedOn = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "GORACE",
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", // Windows
}

// threadVariables limit the number of threads that a runtime or a library creates: Go, OpenMP, the implementations of BLAS, numexpr, Numba, Rayon, Polars and
// Julia. TBB has no such variable.
var threadVariables = []string{
	"GOMAXPROCS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
	"NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "JULIA_NUM_THREADS",
}

// cpuShare returns the variables that limit each worker to its share of the CPUs. Without them, libraries would use all CPUs in every worker. workers is the
// number of workers that share the CPUs.
func cpuShare(cfg *Config, cpus, workers int) []string {
	share := strconv.Itoa(max(1, cpus/workers, min(cfg.Threads, cpus)))
	var env []string
	for _, key := range threadVariables {
		env = append(env, key+"="+share)
	}
	return env
}

// environment returns the environment of a worker process. It is built from an explicit list, so that no secret of the host gets into it by accident.
func environment(cfg *Config) []string {
	var env []string
	for _, key := range passedOn {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LC_") {
			env = append(env, kv)
		}
	}
	env = append(env,
		wire.EnvMaxItemBytes+"="+strconv.Itoa(cfg.MaxItemBytes),
		wire.EnvLogLevel+"="+cfg.Logger.GetLevel().String(),
	)
	if arena.AddressSpace() > 0 { // the worker inherits the limit of address space, and its C library would reserve 64 MiB for each thread (mallopt(3))
		env = append(env, "MALLOC_ARENA_MAX=1")
	}
	if cfg.Workload != nil {
		env = append(env, wire.EnvWorkload+"="+cfg.Workload.Manifest().Name)
	} else {
		env = append(env, wire.EnvWorkload+"="+cfg.PluginWorkload) // set even if it is empty: a plugin that is itself a host must not take itself for its own child
	}
	return append(env, cfg.Env...)
}
