package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/cgroup"
	"github.com/parhost/parhost/internal/gobuild"
	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/plugins/sqrt"
)

// newDoctor returns the doctor command, which reports the features of this machine that parhost can use.
func newDoctor(s *streams) *cobra.Command {
	var asJSON bool
	var dirs []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say what this machine offers, and whether a worker starts",
		Long: `Say what this machine offers: CPUs as --procs -1 counts them, memory, folders with plugins, and what its kernel has to end and to
confine processes. Each line says what the thing is good for, and whether this version of parhost makes use of it. Last it
starts a worker of the built-in plugin sqrt, and says how long that took.`,
		Example: "  parhost doctor\n  parhost doctor --json",
		Args:    between(0, 0, "parhost doctor"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd, s)
			defer stop()
			d := examine(ctx, dirs)
			var err error
			if asJSON {
				err = printJSON(s, d)
			} else {
				err = d.print(s)
			}
			switch {
			case err != nil && !isPipeError(err):
				return err
			case d.failure != nil:
				return whenInterrupted(ctx, &exitError{code: exitNoWorker, err: d.failure, hint: d.advice()})
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&dirs, "plugin-dir", nil, "look into this `folder` for plugins too (may be repeated)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "a JSON object for programs")
	return withExitCodes(cmd, "  0  a worker starts    2  wrong usage    3  no worker starts\n")
}

// finding is one line of the doctor's report.
type finding struct {
	Part  string `json:"part"`
	Name  string `json:"name"`
	OK    bool   `json:"ok"`    // the feature exists and works
	Found string `json:"found"` // what was found, in words
	Use   string `json:"use"`   // what the feature is good for
}

// diagnosis is the doctor's whole report.
type diagnosis struct {
	Build    buildFacts `json:"build"`
	Kernel   string     `json:"kernel"`
	CPUs     cpus       `json:"cpus"`
	Memory   memory     `json:"memory"`
	Findings []finding  `json:"findings"`
	StartMS  float64    `json:"start_ms,omitempty"` // start time of a worker in milliseconds, from exec to ready
	OK       bool       `json:"ok"`                 // a worker starts

	failure error // why no worker starts; nil if OK
}

// cpus are numbers of CPUs, by what limits them.
type cpus struct {
	Hardware int     `json:"hardware"`
	Affinity int     `json:"affinity"`        // CPUs that this process may run on
	Quota    float64 `json:"quota,omitempty"` // CPU quota of the container, in CPUs; 0 means none
	Procs    int     `json:"procs"`           // number of workers that --procs -1 means
}

// memory holds sizes in bytes. 0 means unknown or no limit.
type memory struct {
	Total     int64 `json:"total,omitempty"`
	Available int64 `json:"available,omitempty"`
	Limit     int64 `json:"limit,omitempty"` // memory limit of the container
}

func examine(ctx context.Context, dirs []string) *diagnosis {
	d := &diagnosis{Build: thisBuild(), Kernel: kernel(), CPUs: countCPUs(), Memory: readMemory()}
	d.machine()
	d.plugins(ctx, dirs)
	d.Findings = append(d.Findings, systemFindings()...)
	d.sandbox(ctx)
	d.worker(ctx)
	return d
}

func (d *diagnosis) add(f finding) { d.Findings = append(d.Findings, f) }

func (d *diagnosis) machine() {
	c := d.CPUs
	found := fmt.Sprintf("%d, of which this process may use %d", c.Hardware, c.Affinity)
	if c.Quota > 0 {
		found += fmt.Sprintf(", the container's quota is %.4g", c.Quota)
	}
	d.add(finding{"machine", "CPUs", true, found, fmt.Sprintf("--procs -1 gives %s", wire.Count(c.Procs, "worker"))})
	m := d.Memory
	if m.Total == 0 {
		return
	}
	found = mebibytes(m.Total)
	if m.Available > 0 {
		found += ", available now " + mebibytes(m.Available)
	}
	if m.Limit > 0 {
		found += ", the container's limit is " + mebibytes(m.Limit)
	}
	d.add(finding{"machine", "memory", true, found, "each worker process has its own; --worker-max-rss replaces one that grows"})
}

func (d *diagnosis) plugins(ctx context.Context, dirs []string) {
	for _, dir := range host.SearchDirs(dirs...) {
		f := finding{"plugins", "plugin folder", false, dir + ": not there", "executables parhost-plugin-NAME are found here by name"}
		if entries, err := os.ReadDir(dir); err == nil {
			n := 0
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), "parhost-plugin-") {
					n++
				}
			}
			f.OK, f.Found = true, fmt.Sprintf("%s: %s", dir, wire.Count(n, "plugin"))
		}
		d.add(f)
	}
	used, err := host.CheckTempDir("")
	f := finding{"plugins", "temporary files", err == nil, used + ": writable, short enough", "each pool keeps its sockets in a private folder there"}
	if err != nil {
		f.Found = err.Error()
	}
	d.add(f)
	f = finding{"plugins", "go command", false, "not found in PATH", "builds plugins given as a folder (--plugin ./DIR); other plugins do not need it"}
	version := exec.CommandContext(ctx, "go", "version")
	version.Env = gobuild.KeepToolchain(version.Environ())
	if out, err := version.Output(); err == nil {
		f.OK, f.Found = true, strings.TrimPrefix(strings.TrimSpace(string(out)), "go version ")
	}
	d.add(f)
}

// sandbox probes each sandbox layer and starts a process at each sandbox level.
func (d *diagnosis) sandbox(ctx context.Context) {
	report, err := sandbox.Probe(ctx)
	if err != nil {
		d.add(finding{"sandbox", "levels", false, err.Error(), "--sandbox"})
		return
	}
	uses := map[string]string{
		"landlock":          "keeps workers from files",
		"seccomp":           "keeps workers from system calls",
		"job objects":       "a worker and what it starts end together, and with parhost; --memory, --cpus, --pids",
		"restricted tokens": "--sandbox basic",
		"user namespaces":   "--sandbox strict gives a worker processes, a network and a root of its own",
		"own users":         "a host that is root runs each worker as a user of its own",
		"cgroup memory":     "--memory, and to tell why a worker died",
		"cgroup pids":       "--pids",
		"cgroup cpu":        "--cpus",
		"sandbox-exec":      "keeps workers from files, network, signals and processes, by a Seatbelt profile",
		"rlimits":           "keep workers from descriptors, and from files that grow",
		"level basic":       "--sandbox basic",
		"level strict":      "--sandbox strict",
	}
	for _, l := range slices.Concat(report.Layers, report.Levels) {
		use := uses[l.Name]
		if l.Hint != "" {
			use += "; it would take: " + l.Hint
		}
		d.add(finding{"sandbox", l.Name, l.OK, l.Fact, use})
	}
	d.Findings[len(d.Findings)-1].Use += fmt.Sprintf("; auto takes %s", report.Best)
	if runtime.GOOS == "linux" {
		d.loaded()
	}
}

// loaded reports the libraries that a sandbox opens to workers of parhost's own workloads.
func (d *diagnosis) loaded() {
	f := finding{"sandbox", "own libraries", true, "none: parhost is linked statically", "are opened to workers of parhost's own workloads, one by one"}
	names, err := loadedWith(host.Config{Workload: sqrt.Workload})
	switch {
	case err != nil:
		f.OK, f.Found = false, err.Error()
	case len(names) > 0:
		f.Found = strings.Join(names, ", ")
	}
	d.add(f)
}

// worker starts a worker and runs one item on it.
func (d *diagnosis) worker(ctx context.Context) {
	const use = "what every run in mode process does for each worker"
	started := make(startTime, 1)
	pool, err := host.OpenWorkload(ctx, sqrt.Workload, host.Config{Workers: 1, Observer: started})
	if err != nil {
		d.failure = err
		d.add(finding{"worker", "start", false, err.Error(), use})
		return
	}
	defer pool.Close()
	begun := time.Now()
	root, err := pool.Do(ctx, 81)
	if err == nil && root.Value != 9 {
		err = fmt.Errorf("the square root of 81 came back as %v", root.Value)
	}
	if err != nil {
		d.failure = err
		d.add(finding{"worker", "start", false, err.Error(), use})
		return
	}
	trip := time.Since(begun)
	took := <-started
	d.OK, d.StartMS = true, float64(took.Microseconds())/1000
	d.add(finding{"worker", "start", true, fmt.Sprintf("ready after %s ms, first item back after %s ms", millis(took), millis(trip)), use})
}

// startTime is an observer that keeps the start time of the first worker.
type startTime chan time.Duration

func (t startTime) Observe(e host.Event) {
	if started, ok := e.(host.WorkerStarted); ok {
		select {
		case t <- started.Took:
		default:
		}
	}
}

// advice returns a hint for the case that no worker starts, or "".
func (d *diagnosis) advice() string {
	for _, f := range d.Findings {
		if f.Name == "temporary files" && !f.OK {
			return "set TMPDIR to a folder that is writable and has a short path"
		}
	}
	var start *host.StartError
	if errors.As(d.failure, &start) && start.Stage == "exec" {
		return errnoHint(start)
	}
	return ""
}

func (d *diagnosis) print(s *streams) error {
	w := newTable("what", "", "found", "good for")
	w.wrap(s.out.columnWidth(2, 30), 3, 4)
	part := ""
	for _, f := range d.Findings {
		if part != "" && part != f.Part {
			w.separator()
		}
		part = f.Part
		w.row(f.Name, yesNo(f.OK, "ok", "–"), f.Found, f.Use)
	}
	return s.out.printf("%s\n%s\n\n%s\n", d.Build.layout(), d.Kernel, w.layout())
}

// countCPUs counts the CPUs, the limits on them, and the workers of --procs -1.
func countCPUs() cpus {
	c := cpus{Hardware: hardwareCPUs(), Affinity: runtime.NumCPU(), Quota: cgroup.CPUQuota()}
	c.Procs, _ = host.CountWorkers(-1) // CountWorkers fails only for 0
	return c
}
