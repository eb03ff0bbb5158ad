package attempt

// Anyway marks what some kernels and users cannot do even without a sandbox: there it proves nothing.
const Anyway = "?"

// An Expectation is what comes of an attempt at each level: ok, or an error's name; empty is any error.
type Expectation struct {
	Off, Basic, Strict string
	// By are the layers each of which stops it alone: s seccomp, l Landlock, L Landlock since ABI 6, n namespaces, with all others but no_new_privs and the user.
	By string
}

// Expected is what is expected of all attempts, by name.
var Expected = map[string]Expectation{
	"read a file of the host":             {"ok", "EACCES", "ENOENT", "ln"},
	"read /etc/passwd":                    {"ok", "EACCES", "ENOENT", "ln"},
	"list /":                              {"ok", "EACCES", "EACCES", "l"}, // a strict worker's root is its own
	"read the host's environment":         {"ok", "EACCES", "ENOENT", "ln"},
	"read the machine's processes":        {"ok", "EACCES", "ENOENT", "ln"},
	"write a file of the host":            {"ok", "EACCES", "ENOENT", "ln"},
	"write beside the socket":             {Anyway, "EFBIG", "ok", ""}, // a strict worker's folder is its own
	"write in /dev":                       {Anyway, "EACCES", "", "ln"},
	"chmod a file of the host":            {Anyway, "EPERM", "ENOENT", "n"},
	"truncate a file of the host":         {Anyway, "EPERM", "ENOENT", "n"},
	"replace its own program":             {Anyway, "EACCES", "ENOENT", "ln"},
	"connect to tcp of the host":          {"ok", "EPERM", "EPERM", "sln"},
	"tcp socket":                          {"ok", "EPERM", "EPERM", "s"},
	"listen on tcp":                       {"ok", "EPERM", "EPERM", "s"},
	"udp socket":                          {"ok", "EPERM", "EPERM", "s"},
	"netlink socket":                      {"ok", "EPERM", "EPERM", "s"},
	"packet socket":                       {Anyway, "EPERM", "EPERM", "s"},
	"vsock socket":                        {Anyway, "EPERM", "EPERM", "s"},
	"mptcp socket":                        {Anyway, "EPERM", "EPERM", "s"},
	"crypto socket":                       {Anyway, "EPERM", "EPERM", "s"},
	"connect to an abstract socket":       {"ok", "EPERM", "EPERM", "sLn"},
	"connect to a socket in a folder":     {"ok", "EPERM", "EPERM", "sn"}, // Landlock since ABI 9
	"datagram pair":                       {"ok", "EPERM", "EPERM", "s"},
	"signal the host":                     {"ok", "EPERM", "EPERM", "sLn"},
	"signal everybody":                    {"ok", "EPERM", "ESRCH", "sn"},
	"signal a thread of the host":         {"ok", "EPERM", "EPERM", "sLn"},
	"pidfd of the host":                   {"ok", "EPERM", "EPERM", "sn"},
	"read the host's memory":              {Anyway, "EPERM", "EPERM", "sln"},
	"trace the host":                      {Anyway, "EPERM", "EPERM", "sln"},
	"fork":                                {"ok", "EPERM", "EPERM", "s"},
	"new user namespace":                  {Anyway, "EPERM", "EPERM", "s"},
	"clone3":                              {"ok", "ENOSYS", "ENOSYS", "s"},
	"execve":                              {"ok", "EPERM", "EPERM", "s"},
	"execveat":                            {"ok", "EPERM", "EPERM", "s"},
	"a descriptor where its program was":  {"ok", "EBADF", "EBADF", "sln"},
	"memory that can be executed by name": {"ok", "EPERM", "EPERM", "s"},
	"mount":                               {Anyway, "EPERM", "EPERM", "sln"},
	"open_tree":                           {"ok", "EPERM", "EPERM", "s"},
	"chroot":                              {Anyway, "EPERM", "EPERM", "sln"},
	"unshare":                             {"ok", "EPERM", "EPERM", "s"},
	"setns":                               {"ok", "EPERM", "EPERM", "s"},
	"fifo":                                {"ok", "EPERM", "EPERM", "sln"},
	"sethostname":                         {Anyway, "EPERM", "EPERM", "sln"},
	"become another user":                 {Anyway, "EPERM", "EPERM", "sln"},
	"raise a limit":                       {"ok", "EPERM", "EPERM", "s"},
	"priority":                            {"ok", "EPERM", "EPERM", "s"},
	"affinity of the host":                {"ok", "EPERM", "ESRCH", "sn"},
	"survive the host":                    {"ok", "EPERM", "EPERM", "s"},
	"dumpable":                            {"ok", "EPERM", "EPERM", "s"},
	"bpf":                                 {Anyway, "EPERM", "EPERM", "s"},
	"keyctl":                              {Anyway, "EPERM", "EPERM", "s"},
	"add_key":                             {Anyway, "EPERM", "EPERM", "s"},
	"perf_event_open":                     {Anyway, "EPERM", "EPERM", "s"},
	"io_uring_setup":                      {Anyway, "EPERM", "EPERM", "s"},
	"userfaultfd":                         {Anyway, "EPERM", "EPERM", "s"},
	"open_by_handle_at":                   {Anyway, "EPERM", "EPERM", "s"},
	"kexec_load":                          {Anyway, "EPERM", "EPERM", "sln"},
	"reboot":                              {Anyway, "EPERM", "EPERM", "sln"},
	"seccomp":                             {"ok", "EPERM", "EPERM", "s"},
	"vmsplice":                            {"ok", "EPERM", "EPERM", "s"},
	"shared memory":                       {"ok", "EPERM", "EPERM", "s"},
	"TIOCSTI":                             {"ok", "EPERM", "EPERM", "s"},
	"int80 getpid":                        {Anyway, "EPERM", "EPERM", "s"},
	"x32 getpid":                          {Anyway, "ENOSYS", "ENOSYS", "s"},
	"modify_ldt":                          {Anyway, "EPERM", "EPERM", "s"},
}
