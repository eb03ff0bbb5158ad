//go:build linux

package vm_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/internal/vm"
)

// kernelsEnv names a folder with kernels: files vmlinuz-VERSION anywhere below it. Without it the tests that boot kernels are skipped.
const kernelsEnv = "PARHOST_VM_KERNELS"

// bootTime limits the whole life of a machine, suiteTime each suite of tests in it, and silence the time without an event: three times what they
// took on two CPUs that were shared with ten other machines.
const (
	bootTime  = 15 * time.Minute
	suiteTime = 8 * time.Minute
	silence   = 90 * time.Second
)

const nobody = 65534

// programs are the programs that run inside, by their names in /bin, with the arguments of the go command that builds them.
var programs = map[string][]string{
	"init":                  {"build", "-o", "./internal/vm/init"},
	"hostile":               {"build", "-o", "./host/sandbox/testdata/hostile"},
	"parhost-plugin-sqrt":   {"build", "-o", "./plugins/sqrt/parhost-plugin-sqrt"},
	"parhost-plugin-reduce": {"build", "-o", "./plugins/reduce/parhost-plugin-reduce"},
	"parhost-plugin-greedy": {"build", "-o", "./internal/vm/testdata/greedy"},
	"parhost":               {"build", "-o", "./cmd/parhost"},
	"sandbox.test":          {"test", "-c", "-o", "./host/sandbox"},
	"host.test":             {"test", "-c", "-o", "./host"},
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kernels returns the folder of kernels. Without it the test is skipped.
func kernels(t *testing.T) string {
	t.Helper()
	folder := os.Getenv(kernelsEnv)
	if folder == "" {
		t.Skipf("no kernels to boot: %s is not set; make vmtest fetches them", kernelsEnv)
	}
	if _, err := exec.LookPath(vm.QEMU); err != nil {
		t.Fatal(err)
	}
	return folder
}

// If a machine crashes, the error has the last lines of its console.
func TestACrashIsTold(t *testing.T) {
	folder := kernels(t)
	program := buildPrograms(t, "hostile")["/bin/hostile"] // exits at once, because it is given nothing to do
	m := vm.Machine{Kernel: findKernel(t, folder, machines[0].kernel), Init: program, MemoryMiB: 512, CPUs: 1, Commands: []vm.Command{{Name: "never"}}}
	for name, c := range map[string]struct {
		within, silence time.Duration
		why, last       string
	}{
		"panic": {bootTime, silence, "went down before", "Kernel panic - not syncing: Attempted to kill init"},
		"hang":  {100 * time.Millisecond, silence, "was not off at the deadline", "IP="},
		"still": {bootTime, time.Millisecond, "stood still for 1ms", "IP="},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.within)
			defer cancel()
			m := m
			m.Silence = c.silence
			results, err := m.Run(ctx, t.TempDir())
			e, ok := errors.AsType[*vm.CrashError](err)
			if !ok || !strings.Contains(e.Why.Error(), c.why) || !strings.Contains(e.Console, c.last) || results[0].Ran {
				t.Errorf("got %v and %+v, want a machine that %s, with %q on its console", err, results, c.why, c.last)
			}
		})
	}
}

// The sandbox keeps its promises on kernels other than this machine's.
func TestKernels(t *testing.T) {
	folder := kernels(t)
	bin := buildPrograms(t, slices.Collect(maps.Keys(programs))...)
	rows := make([][][]string, len(machines))
	t.Cleanup(func() { // when all subtests have ended
		show(t, append([][]string{{"kernel", "what", "passed", "failed", "skipped", "seconds"}}, slices.Concat(rows...)...))
	})
	for i, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // a machine spends a third of its time waiting
			rows[i] = m.test(t, folder, bin)
		})
	}
}

// show prints the table to stdout, because t.Log would be shown only with -v.
func show(t *testing.T, table [][]string) {
	t.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range table {
		if _, err := io.WriteString(w, strings.Join(row, "\t")+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// buildPrograms builds programs. It returns their paths outside, by their paths inside.
func buildPrograms(t *testing.T, names ...string) map[string]string {
	t.Helper()
	bin := t.TempDir()
	files := map[string]string{}
	for _, name := range names {
		args := programs[name]
		files["/bin/"+name] = filepath.Join(bin, name)
		cmd := exec.Command("go", append(slices.Clone(args[:len(args)-1]), filepath.Join(bin, name), "-ldflags=-s -w", args[len(args)-1])...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	return files
}

// A machine is a kernel with its options, and what is known about it.
type machine struct {
	name, kernel, options string
	landlock              int // ABI version, 0 for none
}

var machines = []machine{
	{name: "6.1", kernel: "6.1", landlock: 2},
	{name: "6.12", kernel: "6.12", landlock: 6},
	{name: "6.12 without Landlock", kernel: "6.12", options: "lsm=yama"},
}

// test boots the machine, judges the results, and returns the rows of the table.
func (m *machine) test(t *testing.T, folder string, bin map[string]string) [][]string {
	t.Helper()
	files := maps.Clone(bin)
	// The programs that tests of the sandbox start. They are linked dynamically, and those of Debian need only these libraries.
	for _, path := range []string{
		"/bin/sh", "/bin/cat", "/bin/false", "/bin/sleep", "/bin/true", "/usr/bin/env", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6",
	} {
		files[path] = path
	}
	v := vm.Machine{Kernel: findKernel(t, folder, m.kernel), Init: files["/bin/init"], Options: m.options, MemoryMiB: 1024, CPUs: 2, Files: files, Silence: silence}
	trials := m.trials()
	for _, tr := range trials {
		v.Commands = append(v.Commands, tr.command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	results, err := v.Run(ctx, t.TempDir())
	if e, ok := errors.AsType[*vm.CrashError](err); ok {
		// In about one of a hundred boots, a machine was stuck without a message of the kernel's own watchdogs, or executed the second byte of a jump that
		// another processor was just writing: emulated processors do not see each other's changes of code as real ones do. A fault of the sandbox would
		// occur again at the second boot.
		show(t, [][]string{{m.name, "is booted once more: it " + e.Why.Error()}, {e.Console}})
		results, err = v.Run(ctx, t.TempDir())
	}
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(v.Kernel), err)
	}
	var rows [][]string
	for i, tr := range trials {
		t.Run(tr.command.Name, func(t *testing.T) {
			if !results[i].Ran {
				t.Fatalf("it did not come to its end; it said:\n%s", results[i].Output)
			}
			row := tr.judge(t, results[i])
			rows = append(rows, append([]string{filepath.Base(v.Kernel) + " " + m.options, tr.command.Name}, append(row, fmt.Sprintf("%.1f", results[i].Took.Seconds()))...))
		})
	}
	return rows
}

// findKernel finds the newest kernel of a version.
func findKernel(t *testing.T, folder, version string) string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), "vmlinuz-"+version+".") {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no vmlinuz-%s.* in %s (%v)", version, folder, err)
	}
	return slices.Max(found)
}

// A trial is a command with its expected outcome: of its tests, or its exit code and output.
type trial struct {
	command vm.Command
	suite   bool   // its output is for test2json
	skips   []skip // expected skips of its tests
	code    int
	says    string // a regular expression for the output
}

// A skip is a reason for which tests may be skipped. Any other skip fails the trial, because it hides a promise. So does an expected skip that does
// not occur.
type skip struct {
	tests string // a regular expression for the tests' full names
	why   string
}

func (s *skip) of(name string) bool {
	return regexp.MustCompile("^(" + s.tests + ")$").MatchString(name)
}

// trials returns what is tried on a kernel: the tests of the sandbox as root and as nobody, and runs of the command.
func (m *machine) trials() []trial {
	asRoot, asNobody := m.skips()
	asRoot = append(asRoot, noCompiler, noFreezer, skip{"TestSocketsAreNotWorkersToChange", "root's workers are users of their own"})
	withoutCgroups := append(slices.Clone(asNobody), noCompiler, noCgroups, notRoot, noMounts)
	all := []trial{
		suite("sandbox, as root", "sandbox.test", 0, ".", asRoot...),
		suite("sandbox, as nobody", "sandbox.test", nobody, ".", withoutCgroups...),
		suite("sandbox, as nobody with cgroups of its own", "sandbox.test", nobody, "(Memory|PIDs|CPU)Limit$|AreTold|MakesWay|MoveOthers|Fork|Killed", append(slices.Clone(asNobody), notRoot)...),
		suite("host, as root", "host.test", 0, hostTests),
	}
	if testing.Short() { // what differs between kernels, in a third of the time
		all = []trial{
			suite("sandbox, as root", "sandbox.test", 0, "TestAttempts$|TestBinds|TestWorkersStay|TestMemoryLimit$|TestStatus", asRoot...),
			suite("sandbox, as nobody", "sandbox.test", nobody, "TestAttempts$|TestBinds|TestWorkersStay", asNobody...),
			suite("sandbox, as nobody with cgroups of its own", "sandbox.test", nobody, "(Memory|PIDs)Limit$|MakesWay", asNobody...),
		}
	}
	all[2].command.Cgroup = "user"
	run := func(name string, uid int, code int, says string, args ...string) {
		if args[0] != "doctor" {
			args = append(args, "--start-timeout", "60s") // for an emulated processor that a limit slows down further
		}
		all = append(all, trial{command: vm.Command{Name: name, UID: uid, Args: append([]string{"/bin/parhost"}, args...), Seconds: 90, Settings: map[string]string{}}, code: code, says: says})
	}
	levels := []string{"off", "strict"}
	if testing.Short() {
		levels = levels[1:]
	}
	for _, level := range levels {
		greedy := func(code int, says, item string, flags ...string) {
			args := append([]string{"--sandbox", level, "-p", "/bin/parhost-plugin-greedy", "--procs", "1", "-o", "jsonl", item}, flags...)
			run(strings.Join(flags, " ")+", "+level, 0, code, says, args...)
		}
		greedy(1, `out_of_memory.*the limit is 67108864 bytes`, `{"take":"memory","n":200}`, "--memory", "64MiB")
		greedy(0, `"0\.[0-5]\d of a CPU"`, `{"take":"cpu","n":2000}`, "--cpus", "0.5")
		forks := []string{"--pids", "40"}
		if level != "off" {
			forks = append(forks, "--allow-fork")
		}
		greedy(0, `"[23]\d processes, then EAGAIN"`, `{"take":"processes","n":100}`, forks...)
	}
	run("no --cpus", 0, 0, `"[12]\.\d\d of a CPU"`, "-p", "/bin/parhost-plugin-greedy", "--procs", "1", "-o", "jsonl", `{"take":"cpu","n":2000}`)
	run("within --memory", 0, 0, `"8 MiB"`, "-p", "/bin/parhost-plugin-greedy", "--procs", "1", "-o", "jsonl", "--memory", "64MiB", `{"take":"memory","n":8}`)
	run("sqrt, strict", nobody, 0, `100 ok · 0 failed .* in sandbox strict`, "-p", "sqrt", "--sandbox", "strict", "--range", "1:101")
	run("reduce, strict", nobody, 0, `1 ok · 0 failed .* in sandbox strict`, "-p", "reduce", "--sandbox", "strict", `{"values":[1,2,3]}`)

	// Without user namespaces, strict is refused, and auto takes the next level that works.
	const forUsers, forAll = "/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/user/max_user_namespaces"
	set := func(file, value string) { all[len(all)-1].command.Settings[file] = value }
	run("strict without user namespaces for users", nobody, 4, `(?s)level strict: clone: .*unprivileged_userns_clone=1.*parhost: hint: .*parhost doctor.*--sandbox auto`,
		"-p", "sqrt", "--sandbox", "strict", "1")
	set(forUsers, "0")
	run("strict without user namespaces", 0, 4, `(?s)level strict: clone: .*raise /proc/sys/user/max_user_namespaces.*parhost: hint: `, "-p", "sqrt", "--sandbox", "strict", "1")
	set(forUsers, "1")
	set(forAll, "0")
	run("auto without user namespaces, root", 0, 0, ` in sandbox basic`, "-p", "sqrt", "--sandbox", "auto", "1")
	if m.landlock > 0 {
		run("auto without user namespaces, nobody", nobody, 0, ` in sandbox basic`, "-p", "sqrt", "--sandbox", "auto", "1")
	} else {
		run("auto without user namespaces, nobody", nobody, 0, `parhost: warning: no sandbox holds (?s).*1 ok · 0 failed · process × \d+ · `, "-p", "sqrt", "--sandbox", "auto", "1")
		run("basic without Landlock, nobody", nobody, 4, `level basic: landlock: .*lsm=(?s).*parhost: hint: `, "-p", "sqrt", "--sandbox", "basic", "1")
	}
	run("doctor", nobody, 0, `(?s)level strict +– +clone: .*user_namespaces`, "doctor")
	return all
}

// hostTests matches the tests of package host that put workers into a sandbox.
const hostTests = "Confined|InASandbox|AMemoryLimit"

// suite makes a trial of tests. It leaves out those of plugins, whose promises about time an emulated processor does not keep, and the test that
// runs the others as another user, which the trials do themselves.
func suite(name, binary string, uid int, run string, skips ...skip) trial {
	return trial{suite: true, skips: skips, command: vm.Command{
		Name: name, UID: uid, Seconds: int(suiteTime.Seconds()),
		Args: []string{"/bin/" + binary, "-test.v=test2json", "-test.short", "-test.timeout=" + (suiteTime - 10*time.Second).String(), "-test.run=" + run, "-test.skip=^TestAsAnotherUser$|^TestPlugins"},
		Env:  []string{"SANDBOX_TEST_HOSTILE=/bin/hostile"},
	}}
}

// The skips that apply on every kernel.
var (
	noCgroups = skip{
		`TestMemoryLimit/.*|TestPIDsLimit/(off|basic)|TestCPULimit/.*|TestAllowFork/basic|TestAHost(MakesWayForItsWorkers|DoesNotMoveOthers)|` +
			`TestCgroupsOfAWorkersOwnAreRemoved|TestProcessesThatDoNotEndHoldUpABoxOnce/.*|TestASweepOfProcessesThatDoNotEndIsBounded`,
		"the user has no cgroups",
	}
	noFreezer = skip{
		"TestProcessesThatDoNotEndHoldUpABoxOnce/.*|TestASweepOfProcessesThatDoNotEndIsBounded",
		"SIGKILL ends a process that cgroups of version 2 have frozen",
	}
	noCompiler = skip{
		"TestALibraryThatIsReplacedStartsNoWorker/.*|TestAProgramThatNamesManyFoldersIsRefused|TestLibrariesAreFoundAsTheLoaderFindsThem|TestWhatIsNoLibraryIsNotOpened",
		"the machine has no C compiler",
	}
	notRoot  = skip{"TestAWorkerThatLeavesItsCgroupIsKilled|TestWorkersLeaveTheirHostThreads", "only root may use the topmost cgroups"}
	noMounts = skip{"TestWhatIsMountedOverASocketIsNotAsked/.*|TestBestStartsWithTheMountsOfThePolicy", "only root may mount file systems"}
)

// skips returns the skips that this kernel explains, for root and for other users. The first one that matches a test counts.
func (m *machine) skips() (asRoot, asNobody []skip) {
	switch {
	case m.landlock == 0:
		asRoot = []skip{{`TestAttempts/landlock_alone|TestBinds(StayWhatTheyWere)?/basic|TestWorkersLeaveTheirHostThreads/a_user,_basic,_with_a_limit`, "the kernel has no Landlock"}}
		asNobody = []skip{{
			`.*[/_]basic(/.*)?|TestSocketsAreNotWorkersToChange|TestAttempts/(seccomp|landlock)_alone|TestProgramIsRead|TestHostIsKilled|TestConfirm(EndsWithItsContext|OfALauncherThatIsKilled)|` +
				`TestBestIsWhatThePolicyStartsAt|TestWorkersCannotMoveTheFolderOfSockets`,
			"without Landlock there is no basic for the host's own user",
		}}
	case m.landlock < 6:
		asRoot = []skip{{"TestWhatIsMountedOverASocketIsNotAsked/.*", "the kernel has no FUSE"}}
		asNobody = []skip{{`TestPIDsLimit/basic|TestAllowFork/basic|TestWorkersStayTheirProgram/basic`, "Landlock keeps signals from the host since ABI 6, and who may start processes may send any"}}
	}
	return asRoot, asNobody
}

// judge compares the result of a trial with what is expected, and returns the numbers of tests that passed, failed and were skipped.
func (tr *trial) judge(t *testing.T, r vm.Result) []string {
	t.Helper()
	if tr.suite {
		return tr.judgeTests(t, r)
	}
	matched, err := regexp.MatchString(tr.says, r.Output)
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != tr.code || !matched {
		t.Errorf("%q: got exit code %d, want %d, and output that matches %q:\n%s", tr.command.Args, r.Code, tr.code, tr.says, r.Output)
		return []string{"0", "1", "0"}
	}
	return []string{"1", "0", "0"}
}

func (tr *trial) judgeTests(t *testing.T, r vm.Result) []string {
	t.Helper()
	tests := readTests(t, r.Output)
	var text strings.Builder
	counts, used := map[string]int{}, map[int]bool{}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		got := tests[name]
		counts[got.action]++
		i := slices.IndexFunc(tr.skips, func(s skip) bool { return s.of(name) })
		switch {
		case got.action == "skip" && i < 0:
			t.Errorf("%s is skipped, and is not expected to be: %s", name, got.output)
		case got.action == "skip":
			fmt.Fprintf(&text, "%s is skipped: %s\n", name, tr.skips[i].why)
			used[i] = true
		case got.action != "pass":
			t.Errorf("%s: %s\n%s", name, cmp.Or(got.action, "no end"), got.output)
		}
		if name == "TestAttempts" {
			text.WriteString(got.output)
		}
	}
	for i, s := range tr.skips {
		if !used[i] && !testing.Short() {
			t.Errorf("no test is skipped any more for the reason that %s", s.why)
		}
	}
	if len(tests) == 0 || r.Code != 0 && !t.Failed() {
		t.Errorf("got exit code %d after %d tests:\n%s", r.Code, len(tests), r.Output)
	}
	t.Log("\n" + text.String())
	failed := len(tests) - counts["pass"] - counts["skip"]
	return []string{fmt.Sprint(counts["pass"]), fmt.Sprint(failed), fmt.Sprint(counts["skip"])}
}

// outcome is the outcome of one test.
type outcome struct {
	action string // pass, fail, skip, or "" if the test did not end
	output string
}

// readTests reads the outcomes of tests, by name.
func readTests(t *testing.T, output string) map[string]outcome {
	t.Helper()
	cmd := exec.Command("go", "tool", "test2json")
	cmd.Stdin = strings.NewReader(output)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("test2json: %v", err)
	}
	tests := map[string]outcome{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var e struct{ Action, Test, Output string }
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return tests
		}
		if err != nil {
			t.Fatalf("test2json: %v", err)
		}
		if e.Test == "" {
			continue
		}
		o := tests[e.Test]
		switch e.Action {
		case "pass", "fail", "skip":
			o.action = e.Action
		case "output":
			if !strings.HasPrefix(e.Output, "===") {
				o.output += e.Output
			}
		}
		tests[e.Test] = o
	}
}
