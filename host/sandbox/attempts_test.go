//go:build linux

package sandbox_test

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/parhost/parhost/host/sandbox"
)

// anyway marks what some kernels and users cannot do even without a sandbox: there it proves nothing.
const anyway = "?"

// An expectation is what comes of an attempt at each level: ok, or an error's name; empty is any error.
type expectation struct {
	off, basic, strict string
	// by are the layers each of which stops it alone: s seccomp, l Landlock, t since ABI 4, L since ABI 6, n namespaces, with all others but no_new_privs and the user.
	by string
}

const ok = "ok"

var expectations = map[string]expectation{
	"read a file of the host":             {ok, "EACCES", "ENOENT", "ln"},
	"read /etc/passwd":                    {ok, "EACCES", "ENOENT", "ln"},
	"list /":                              {ok, "EACCES", "EACCES", "l"}, // a strict worker's root is its own
	"read the host's environment":         {ok, "EACCES", "ENOENT", "ln"},
	"read the machine's processes":        {ok, "EACCES", "ENOENT", "ln"},
	"write a file of the host":            {ok, "EACCES", "ENOENT", "ln"},
	"write beside the socket":             {anyway, "EFBIG", ok, ""}, // a strict worker's folder is its own
	"write in /dev":                       {anyway, "EACCES", "", "ln"},
	"chmod a file of the host":            {anyway, "EPERM", "ENOENT", "n"},
	"truncate a file of the host":         {anyway, "EPERM", "ENOENT", "n"},
	"replace its own program":             {anyway, "EACCES", "ENOENT", "ln"},
	"connect to tcp of the host":          {ok, "EPERM", "EPERM", "stn"},
	"tcp socket":                          {ok, "EPERM", "EPERM", "s"},
	"listen on tcp":                       {ok, "EPERM", "EPERM", "s"},
	"udp socket":                          {ok, "EPERM", "EPERM", "s"},
	"netlink socket":                      {ok, "EPERM", "EPERM", "s"},
	"packet socket":                       {anyway, "EPERM", "EPERM", "s"},
	"vsock socket":                        {anyway, "EPERM", "EPERM", "s"},
	"mptcp socket":                        {anyway, "EPERM", "EPERM", "s"},
	"crypto socket":                       {anyway, "EPERM", "EPERM", "s"},
	"connect to an abstract socket":       {ok, "EPERM", "EPERM", "sLn"},
	"connect to a socket in a folder":     {ok, "EPERM", "EPERM", "sn"}, // Landlock since ABI 9
	"datagram pair":                       {ok, "EPERM", "EPERM", "s"},
	"signal the host":                     {ok, "EPERM", "EPERM", "sLn"},
	"signal everybody":                    {ok, "EPERM", "ESRCH", "sn"},
	"signal a thread of the host":         {ok, "EPERM", "EPERM", "sLn"},
	"pidfd of the host":                   {ok, "EPERM", "EPERM", "sn"},
	"read the host's memory":              {anyway, "EPERM", "EPERM", "sln"},
	"trace the host":                      {anyway, "EPERM", "EPERM", "sln"},
	"fork":                                {ok, "EPERM", "EPERM", "s"},
	"new user namespace":                  {anyway, "EPERM", "EPERM", "s"},
	"clone3":                              {ok, "ENOSYS", "ENOSYS", "s"},
	"execve":                              {ok, "EPERM", "EPERM", "s"},
	"execveat":                            {ok, "EPERM", "EPERM", "s"},
	"a descriptor where its program was":  {ok, "EBADF", "EBADF", "sln"},
	"memory that can be executed by name": {ok, "EPERM", "EPERM", "s"},
	"mount":                               {anyway, "EPERM", "EPERM", "sln"},
	"open_tree":                           {ok, "EPERM", "EPERM", "s"},
	"chroot":                              {anyway, "EPERM", "EPERM", "sln"},
	"unshare":                             {ok, "EPERM", "EPERM", "s"},
	"setns":                               {ok, "EPERM", "EPERM", "s"},
	"fifo":                                {ok, "EPERM", "EPERM", "sln"},
	"sethostname":                         {anyway, "EPERM", "EPERM", "sln"},
	"become another user":                 {anyway, "EPERM", "EPERM", "sln"},
	"raise a limit":                       {ok, "EPERM", "EPERM", "s"},
	"priority":                            {ok, "EPERM", "EPERM", "s"},
	"affinity of the host":                {ok, "EPERM", "ESRCH", "sn"},
	"survive the host":                    {ok, "EPERM", "EPERM", "s"},
	"dumpable":                            {ok, "EPERM", "EPERM", "s"},
	"bpf":                                 {anyway, "EPERM", "EPERM", "s"},
	"keyctl":                              {anyway, "EPERM", "EPERM", "s"},
	"add_key":                             {anyway, "EPERM", "EPERM", "s"},
	"perf_event_open":                     {anyway, "EPERM", "EPERM", "s"},
	"io_uring_setup":                      {anyway, "EPERM", "EPERM", "s"},
	"userfaultfd":                         {anyway, "EPERM", "EPERM", "s"},
	"open_by_handle_at":                   {anyway, "EPERM", "EPERM", "s"},
	"kexec_load":                          {anyway, "EPERM", "EPERM", "sln"},
	"reboot":                              {anyway, "EPERM", "EPERM", "sln"},
	"seccomp":                             {ok, "EPERM", "EPERM", "s"},
	"vmsplice":                            {ok, "EPERM", "EPERM", "s"},
	"shared memory":                       {ok, "EPERM", "EPERM", "s"},
	"TIOCSTI":                             {ok, "EPERM", "EPERM", "s"},
	"int80 getpid":                        {anyway, "EPERM", "EPERM", "s"},
	"x32 getpid":                          {anyway, "ENOSYS", "ENOSYS", "s"},
	"modify_ldt":                          {anyway, "EPERM", "EPERM", "s"},
}

// withoutLandlock is what comes of attempts that nothing else stops. A worker at basic is then a user of its own, to whom the machine's
// files are what they are to every other user.
var withoutLandlock = map[string]expectation{
	"read a file of the host":      {basic: ok, strict: "ENOENT"},
	"read /etc/passwd":             {basic: ok, strict: "ENOENT"},
	"list /":                       {basic: ok, strict: ok}, // a strict worker's own
	"read the machine's processes": {basic: ok, strict: "ENOENT"},
	"write a file of the host":     {basic: "EFBIG", strict: "ENOENT"},
	"write in /dev":                {basic: "EFBIG"},
}

// expected is what is expected of an attempt on this kernel.
func expected(name string) (e expectation, known bool) {
	e, known = expectations[name]
	if less, ok := withoutLandlock[name]; ok && sandbox.LandlockABI() == 0 {
		e.basic, e.strict = less.basic, less.strict
	}
	return e, known
}

// openDir returns a folder that every user can find.
func openDir(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for dir := folder; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// target is what a host has that its workers should not get at.
func target(t *testing.T) []string {
	t.Helper()
	folder := openDir(t)
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder+"/secret", []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	listen := func(network, address string) net.Addr {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr()
	}
	tcp := listen("tcp", "127.0.0.1:0")
	listen("unix", folder+"/open")
	if err := os.Chmod(folder+"/open", 0o777); err != nil {
		t.Fatal(err)
	}
	abstract := "parhost-test-" + strconv.Itoa(os.Getpid())
	listen("unix", "@"+abstract)
	env := []string{"HOSTILE_TCP=" + tcp.String(), "HOSTILE_ABSTRACT=" + abstract, "HOSTILE_FOLDER=" + folder}
	return append(env, fmt.Sprintf("HOSTILE_PID=%d", os.Getpid()), "HOSTILE_PLACE=1024", "PLUGIN_UNIX_SOCKET_DIR="+folder)
}

// Each attempt succeeds where nothing stands in its way, fails at both levels, and fails with each single layer that is said to stop it.
func TestAttempts(t *testing.T) {
	runs := []struct {
		name    string
		level   sandbox.Level
		without []string
		layer   string // the one left
	}{
		{"off", sandbox.Off, nil, ""},
		{"basic", sandbox.Basic, nil, ""},
		{"strict", sandbox.Strict, nil, ""},
		{"seccomp alone", sandbox.Basic, []string{"landlock"}, "s"},
		{"landlock alone", sandbox.Basic, []string{"seccomp"}, "l"},
		{"namespaces alone", sandbox.Strict, []string{"seccomp", "landlock"}, "n"},
	}
	outcomes := map[string]map[string]string{}
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			if r.layer == "l" && sandbox.LandlockABI() == 0 {
				t.Skipf("the kernel has no Landlock: %v", sandbox.ErrNotSupported)
			}
			b := policyBox(t, sandbox.Policy{Level: r.level}, r.without...)
			got := start(t, b, target(t), "attempts").table()
			outcomes[r.name] = got
			for name, outcome := range got {
				e, known := expected(name)
				if !known {
					t.Errorf("%s: nothing is expected of it", name)
				}
				want := map[string]string{"off": e.off, "basic": e.basic, "strict": e.strict}[r.name]
				switch {
				case r.name == "off" && want == anyway:
				case r.layer != "" && !strings.Contains(by(e), r.layer):
				case want != "" && outcome != want, want == "" && outcome == ok:
					t.Errorf("%s: got %s, want %s", name, outcome, cmp.Or(want, "an error"))
				}
			}
			if want := len(expectations); len(got) < want-3 { // three are of one architecture alone
				t.Errorf("got %d outcomes, want %d", len(got), want)
			}
		})
	}
	show(t, outcomes)
}

// by are the layers of an expectation on this kernel.
func by(e expectation) string {
	layers := e.by
	if sandbox.LandlockABI() >= 4 {
		layers = strings.ReplaceAll(layers, "t", "l")
	}
	if sandbox.LandlockABI() >= 6 {
		layers = strings.ReplaceAll(layers, "L", "l")
	}
	return layers
}

func show(t *testing.T, outcomes map[string]map[string]string) {
	columns := []string{"off", "basic", "strict", "seccomp alone", "landlock alone", "namespaces alone"}
	rows := []string{"attempt\t" + strings.Join(columns, "\t")}
	for _, name := range sorted(expectations) {
		row := name
		for _, c := range columns {
			row += "\t" + outcomes[c][name]
		}
		rows = append(rows, row)
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(w, strings.Join(rows, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
}
