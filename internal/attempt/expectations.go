//go:build linux

package attempt

import (
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Anyway marks what some kernels or users cannot do even without a sandbox, so that its outcome there proves nothing.
const Anyway = "?"

// An Expectation is the expected outcome of an attempt at each level: "ok", or the name of an error; empty means any error.
type Expectation struct {
	Off, Basic, Strict string
	// By lists the layers that each stop the attempt alone, without the others except no_new_privs and the user: s seccomp, l Landlock, n namespaces.
	By string
}

// expected has the expectation for each attempt, by name, on a kernel with all of Landlock. In By, c is Landlock since ABI 3, t since ABI 4, and L
// since ABI 6.
var expected = map[string]Expectation{
	"read a file of the host":                                {"ok", "EACCES", "ENOENT", "ln"},
	"read /etc/passwd":                                       {"ok", "EACCES", "ENOENT", "ln"},
	"list /":                                                 {"ok", "EACCES", "EACCES", "l"}, // a strict worker has a root of its own
	"read the host's environment":                            {"ok", "EACCES", "ENOENT", "ln"},
	"read the machine's processes":                           {"ok", "EACCES", "ENOENT", "ln"},
	"write a file of the host":                               {"ok", "EACCES", "ENOENT", "ln"},
	"write beside the socket":                                {Anyway, "EFBIG", "ok", ""}, // a strict worker has a folder of its own
	"write in /dev":                                          {Anyway, "EACCES", "", "ln"},
	"chmod a file of the host":                               {Anyway, "EPERM", "ENOENT", "n"},
	"truncate a file of the host":                            {Anyway, "EPERM", "ENOENT", "n"},
	"truncate a file of the host as it opens it":             {"ok", "EPERM", "EPERM", "scn"},
	"attributes of a file of the host":                       {"ok", "EPERM", "ENOENT", "sn"},
	"lease on a file of the host":                            {"ok", "EPERM", "EPERM", "sn"},
	"be told of changes in a folder of the host":             {"ok", "EACCES", "ENOENT", "sln"},
	"replace its own program":                                {Anyway, "EACCES", "ENOENT", "ln"},
	"connect to tcp of the host":                             {"ok", "EPERM", "EPERM", "stn"},
	"tcp socket":                                             {"ok", "EPERM", "EPERM", "s"},
	"listen on tcp":                                          {"ok", "EPERM", "EPERM", "s"},
	"udp socket":                                             {"ok", "EPERM", "EPERM", "s"},
	"udp socket, with bits that the kernel does not look at": {"ok", "EPERM", "EPERM", "s"},
	"netlink socket":                                         {"ok", "EPERM", "EPERM", "s"},
	"packet socket":                                          {Anyway, "EPERM", "EPERM", "s"},
	"vsock socket":                                           {Anyway, "EPERM", "EPERM", "s"},
	"mptcp socket":                                           {Anyway, "EPERM", "EPERM", "s"},
	"crypto socket":                                          {Anyway, "EPERM", "EPERM", "s"},
	"connect to an abstract socket":                          {"ok", "EPERM", "EPERM", "sLn"},
	"connect to a socket in a folder":                        {"ok", "EPERM", "EPERM", "sn"}, // only Landlock since ABI 9 stops it
	"datagram pair":                                          {"ok", "EPERM", "EPERM", "s"},
	"signal the host":                                        {"ok", "EPERM", "EPERM", "sLn"},
	"signal the host, with bits that the kernel does not look at": {"ok", "EPERM", "EPERM", "sLn"},
	"signal everybody":                                      {"ok", "EPERM", "ESRCH", "sn"},
	"signal a thread of the host":                           {"ok", "EPERM", "EPERM", "sLn"},
	"a descriptor that signals the host":                    {"ok", "EPERM", "EPERM", "sn"},
	"pidfd of the other end":                                {Anyway, "EPERM", "EPERM", "s"},
	"a filter of packets":                                   {"ok", "EPERM", "EPERM", "s"},
	"a thread with descriptors of its own, by closing some": {"ok", "EPERM", "EPERM", "s"},
	"pidfd of the host":                                     {"ok", "EPERM", "EPERM", "sn"},
	"read the host's memory":                                {Anyway, "EPERM", "EPERM", "sln"},
	"trace the host":                                        {Anyway, "EPERM", "EPERM", "sln"},
	"fork":                                                  {"ok", "EPERM", "EPERM", "s"},
	"new user namespace":                                    {Anyway, "EPERM", "EPERM", "s"},
	"clone3":                                                {"ok", "ENOSYS", "ENOSYS", "s"},
	"execve":                                                {"ok", "EPERM", "EPERM", "s"},
	"execveat":                                              {"ok", "EPERM", "EPERM", "s"},
	"a descriptor where its program was":                    {"ok", "EBADF", "EBADF", "sln"},
	"memory that can be executed by name":                   {"ok", "EPERM", "EPERM", "s"},
	"another program where its own is":                      {"ok", "EPERM", "EPERM", "s"},
	"a thread with descriptors of its own":                  {"ok", "EPERM", "EPERM", "s"},
	"a file of another user's rights":                       {"ok", "EPERM", "EPERM", "s"},
	"room on the disk beside its files":                     {Anyway, "EPERM", "EPERM", "s"},
	"a hole in a file":                                      {Anyway, "EPERM", "EPERM", "s"}, // not every file system supports holes
	"a hole in shared memory":                               {"ok", "EPERM", "EPERM", "s"},
	"poll one socket a hundred times":                       {"ok", "EINVAL", "EINVAL", "s"},
	"select among a hundred descriptors":                    {"ok", "EINVAL", "EINVAL", "s"},
	"lock what others lock":                                 {"ok", "EPERM", "EPERM", "s"},
	"a larger pipe":                                         {"ok", "EPERM", "EPERM", "s"},
	"watch files":                                           {"ok", "EPERM", "EPERM", "s"},
	"thousands of timers":                                   {"ok", "EAGAIN", "EAGAIN", "sln"},
	"memory that grows by itself":                           {"ok", "EPERM", "EPERM", "s"},
	"huge pages":                                            {"ok", "EPERM", "EPERM", "s"},
	"mount":                                                 {Anyway, "EPERM", "EPERM", "sln"},
	"open_tree":                                             {"ok", "EPERM", "EPERM", "s"},
	"chroot":                                                {Anyway, "EPERM", "EPERM", "sln"},
	"unshare":                                               {"ok", "EPERM", "EPERM", "s"},
	"setns":                                                 {"ok", "EPERM", "EPERM", "s"},
	"fifo":                                                  {"ok", "EPERM", "EPERM", "sln"},
	"sethostname":                                           {Anyway, "EPERM", "EPERM", "sln"},
	"become another user":                                   {Anyway, "EPERM", "EPERM", "sln"},
	"raise a limit":                                         {"ok", "EPERM", "EPERM", "s"},
	"priority":                                              {"ok", "EPERM", "EPERM", "s"},
	"affinity of the host":                                  {"ok", "EPERM", "ESRCH", "sn"},
	"survive the host":                                      {"ok", "EPERM", "EPERM", "s"},
	"dumpable":                                              {"ok", "EPERM", "EPERM", "s"},
	"bpf":                                                   {Anyway, "EPERM", "EPERM", "s"},
	"keyctl":                                                {Anyway, "EPERM", "EPERM", "s"},
	"add_key":                                               {Anyway, "EPERM", "EPERM", "s"},
	"perf_event_open":                                       {Anyway, "EPERM", "EPERM", "s"},
	"io_uring_setup":                                        {Anyway, "EPERM", "EPERM", "s"},
	"userfaultfd":                                           {Anyway, "EPERM", "EPERM", "s"},
	"open_by_handle_at":                                     {Anyway, "EPERM", "EPERM", "s"},
	"kexec_load":                                            {Anyway, "EPERM", "EPERM", "sln"},
	"reboot":                                                {Anyway, "EPERM", "EPERM", "sln"},
	"seccomp":                                               {"ok", "EPERM", "EPERM", "s"},
	"splice":                                                {"ok", "EINVAL", "EINVAL", "s"},
	"tee":                                                   {"ok", "EINVAL", "EINVAL", "s"},
	"sendfile":                                              {"ok", "EINVAL", "EINVAL", "s"},
	"vmsplice":                                              {"ok", "EPERM", "EPERM", "s"},
	"shared memory":                                         {"ok", "EPERM", "EPERM", "s"},
	"TIOCSTI":                                               {"ok", "EPERM", "EPERM", "s"},
	"int80 getpid":                                          {Anyway, "EPERM", "EPERM", "s"},
	"x32 getpid":                                            {Anyway, "ENOSYS", "ENOSYS", "s"},
	"modify_ldt":                                            {Anyway, "EPERM", "EPERM", "s"},
}

// withoutLandlock has the outcomes of attempts that only Landlock stops, for kernels without it. A worker at basic then has a user of its own, and
// the access to the machine's files that every other user has.
var withoutLandlock = map[string]Expectation{
	"read a file of the host":                    {Basic: "ok", Strict: "ENOENT"},
	"read /etc/passwd":                           {Basic: "ok", Strict: "ENOENT"},
	"list /":                                     {Basic: "ok", Strict: "ok"}, // a strict worker has a root of its own
	"read the machine's processes":               {Basic: "ok", Strict: "ENOENT"},
	"write a file of the host":                   {Basic: "EFBIG", Strict: "ENOENT"},
	"write in /dev":                              {Basic: "EFBIG"},
	"be told of changes in a folder of the host": {Basic: "EPERM", Strict: "ENOENT"},
}

// ofProcesses are attempts that look for another process in /proc. Where /proc hides processes (proc(5), hidepid), a worker at basic finds none: it
// has another user, or Landlock keeps it from tracing its host. At off it finds the processes of its own user.
var ofProcesses = map[string]string{
	"read the host's environment":  "ok",
	"read the machine's processes": "ENOENT",
}

// hidesProcesses reports whether /proc is mounted with hidepid, so that it hides processes of other users.
var hidesProcesses = sync.OnceValue(func() bool {
	mounts, _ := os.ReadFile("/proc/self/mounts") // a file that cannot be read tells nothing
	hides := false
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == "/proc" { // the last mount covers earlier ones
			options := strings.Split(f[3], ",")
			hides = slices.ContainsFunc(options, func(o string) bool {
				return slices.Contains([]string{"hidepid=2", "hidepid=invisible", "hidepid=4", "hidepid=ptraceable"}, o)
			})
		}
	}
	return hides
})

// Names returns the names of all attempts, sorted.
func Names() []string { return slices.Sorted(maps.Keys(expected)) }

// Expect returns what is expected of an attempt on this kernel.
func Expect(name string) (e Expectation, known bool) {
	e, known = expected[name]
	abi := LandlockABI()
	if less, ok := withoutLandlock[name]; ok && abi == 0 {
		e.Basic, e.Strict = less.Basic, less.Strict
	}
	if off, ok := ofProcesses[name]; ok && hidesProcesses() {
		if e.Basic = "ENOENT"; os.Geteuid() != 0 {
			e.Off = off
		}
	}
	for letter, since := range map[string]int{"c": 3, "t": 4, "L": 6} {
		if abi >= since {
			e.By = strings.ReplaceAll(e.By, letter, "l")
		}
	}
	return e, known
}

// LandlockABI returns the kernel's version of Landlock, or 0 if it has none (landlock_create_ruleset(2)).
var LandlockABI = sync.OnceValue(func() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
})
