// Package seatbelt writes profiles for macOS's sandbox-exec(1), and reads which files a program needs.
//
// It asks nothing of the system, so it can be tested on every system. Apple does not document the profile language. The names are those in the
// profiles of /System/Library/Sandbox/Profiles, which use the same language.
package seatbelt

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Loader is the file with Apple's rules for what the dynamic linker does before a program runs. If it exists, a profile imports it, because its rules
// are better than ours.
const Loader = "/System/Library/Sandbox/Profiles/dyld-support.sb"

// System are the folders in which macOS keeps what every program loads. They are on the sealed system volume, so they hold no files of users.
var System = []string{"/usr/lib", "/System/Library", "/System/Cryptexes/OS", "/System/Volumes/Preboot/Cryptexes/OS"}

// Profile says what one process may do. Paths are absolute, clean and free of links, because the kernel compares them with the real path of a file.
type Profile struct {
	Executable   string   // the plugin, which may be read and executed
	Interpreters []string // the programs that execute it, if it is a script
	Sockets      string   // folder of its socket
	ReadOnly     []string
	ReadWrite    []string
	Links        []string // other paths of these files; the folders above them, which may be links, can be looked up
	Net          bool     // it may use the network
	Fork         bool     // it may start processes
	Loader       bool     // the system has the file [Loader]
}

// Arguments returns the arguments of sandbox-exec that come before the command to execute.
//
// Paths are passed as numbered parameters and are never part of the profile's text, so no file name can become a rule.
func (p *Profile) Arguments() ([]string, error) {
	w := &writer{}
	w.begin(p)
	w.program(p)
	w.socket(p)
	w.files(p)
	if p.Fork {
		// A process always has the profile of the process that started it.
		w.rule("allow process-fork")
		w.rule("allow signal", "(target same-sandbox)")
		w.rule("allow process-info*", "(target same-sandbox)")
	}
	if p.Net {
		w.network()
	}
	if w.err != nil {
		return nil, w.err
	}
	var args []string
	for i, v := range w.values {
		args = append(args, "-D", name(i)+"="+v)
	}
	return append(args, "-p", w.text.String(), "--"), nil
}

type writer struct {
	text   strings.Builder
	values []string // values of the parameters
	err    error
}

func name(i int) string { return "P" + strconv.Itoa(i) }

// rule writes one rule. A rule with several filters applies if one of them matches.
func (w *writer) rule(action string, filters ...string) {
	w.text.WriteString("(" + action)
	for _, f := range filters {
		w.text.WriteString("\n  " + f)
	}
	w.text.WriteString(")\n")
}

// filter returns a filter for a path: subpath for a folder and everything in it, literal for that file only.
func (w *writer) filter(kind, file string) string {
	switch {
	case !path.IsAbs(file) || path.Clean(file) != file:
		w.fail(file, "is not absolute and clean")
	case !utf8.ValidString(file): // macOS file systems do not have such names
		w.fail(file, "is not UTF-8")
	case strings.ContainsRune(file, 0):
		w.fail(file, "has a zero byte")
	}
	i := slices.Index(w.values, file)
	if i < 0 {
		i = len(w.values)
		w.values = append(w.values, file)
	}
	return "(" + kind + " (param " + quote(name(i)) + "))"
}

func (w *writer) fail(file, why string) {
	if w.err == nil {
		w.err = fmt.Errorf("path %q %s", file, why)
	}
}

func (w *writer) filters(kind string, files []string) []string {
	var all []string
	for _, f := range files {
		all = append(all, w.filter(kind, f))
	}
	return all
}

// quote quotes a constant of this package, which has no characters to escape.
func quote(s string) string { return `"` + s + `"` }

// own returns filters for constants of this package.
func own(kind string, values ...string) []string {
	var all []string
	for _, v := range values {
		all = append(all, "("+kind+" "+quote(v)+")")
	}
	return all
}

// begin writes the rules that every process needs.
func (w *writer) begin(p *Profile) {
	w.rule("version 1")
	w.rule("deny default")
	if p.Loader {
		w.rule(`import "dyld-support.sb"`)
	}
	w.rule("allow file-read* file-map-executable", own("subpath", System...)...)
	// Rosetta runs programs for Intel on Apple's own processors.
	w.rule("allow file-read* file-map-executable", own("literal", "/Library/Apple/usr/libexec/oah/libRosettaRuntime")...)
	// The dynamic linker looks at the root first. Up to macOS 11 its cache was in /private/var/db/dyld.
	w.rule("allow file-read*", append(own("literal", "/", "/dev/zero", "/dev/random", "/dev/urandom"),
		own("subpath", "/private/var/db/dyld", "/usr/share/zoneinfo", "/private/var/db/timezone")...)...)
	w.rule("allow file-read* file-write-data", own("literal", "/dev/null")...)
	// Every C library tries to open it and works without it. Denials need not fill the system's log.
	w.rule("deny file-read* file-write* file-ioctl (with no-log)", own("literal", "/dev/dtracehelper")...)
	// Facts about the machine. Other names of sysctl stay closed: kern.proc and kern.procargs tell about other processes, including their
	// environment.
	w.rule("allow sysctl-read", append(own("sysctl-name-prefix", "hw.", "machdep.cpu."), own("sysctl-name",
		"kern.argmax", "kern.bootargs", "kern.hostname", "kern.ipc.somaxconn", "kern.maxfilesperproc", "kern.osproductversion", "kern.osrelease",
		"kern.ostype", "kern.osvariant_status", "kern.osversion", "kern.secure_kernel", "kern.usrstack64", "kern.version",
		"sysctl.name2oid", "sysctl.proc_cputype", "sysctl.proc_native", "sysctl.proc_translated", "vm.pagesize")...)...)
	w.rule("allow signal", "(target self)") // includes the signals that Go sends to its own threads
	w.rule("allow process-info*", "(target self)")
}

// program opens the plugin for execution. sandbox-exec executes the plugin from inside the sandbox, so the sandbox must allow that. The plugin can
// execute itself too.
func (w *writer) program(p *Profile) {
	programs := append([]string{p.Executable}, p.Interpreters...)
	if len(p.ReadOnly) > 0 {
		action := "allow file-read* file-map-executable"
		if p.Fork {
			action += " process-exec*"
		}
		w.rule(action, w.filters("subpath", p.ReadOnly)...)
	}
	if len(p.ReadWrite) > 0 { // the denial also covers a ReadWrite folder inside a ReadOnly one
		w.rule("deny file-map-executable process-exec*", w.filters("subpath", p.ReadWrite)...)
	}
	w.rule("allow file-read* file-map-executable process-exec*", w.filters("literal", programs)...) // comes last, because the last matching rule wins
}

// socket opens the folder of the socket. go-plugin creates a file to find a free name, and then puts the socket in its place. The plugin may not
// create links, because a link would lead a host that connects to the socket somewhere else.
func (w *writer) socket(p *Profile) {
	folder := w.filter("subpath", p.Sockets)
	w.rule("allow file-read* file-write-data file-write-unlink file-write-mode", folder)
	w.rule("allow file-write-create", "(require-all "+folder+" (require-any (vnode-type REGULAR-FILE) (vnode-type SOCKET)))")
	w.rule("allow system-socket", "(socket-domain AF_UNIX)")
	w.rule("allow network-bind network-inbound", "(local unix-socket "+folder+")")
}

// files opens what the policy allows, and lets the process look up the folders above all its files so that it can find them.
func (w *writer) files(p *Profile) {
	if len(p.ReadWrite) > 0 {
		// All file-write* operations except those on owners, set-user-id bits and mounts.
		w.rule("allow file-read* file-write-create file-write-data file-write-flags file-write-mode file-write-times file-write-unlink file-write-xattr",
			w.filters("subpath", p.ReadWrite)...)
	}
	above := []string{"/"}
	for _, f := range slices.Concat([]string{p.Executable, p.Sockets}, p.Interpreters, p.ReadOnly, p.ReadWrite, p.Links) {
		for dir := path.Dir(f); dir != "/" && dir != "."; dir = path.Dir(dir) {
			above = append(above, dir)
		}
	}
	above = append(above, p.Links...)
	slices.Sort(above)
	// Links of the system by which people and programs call its folders.
	w.rule("allow file-read-metadata", append(own("literal", "/etc", "/tmp", "/var"), w.filters("literal", slices.Compact(above))...)...)
}

// network opens the network as far as the host's user may use it, and what the system's libraries need to resolve names and check certificates.
func (w *writer) network() {
	w.rule("allow network* system-socket")
	w.rule("allow file-read*", append(own("literal", "/private/etc/hosts", "/private/etc/protocols", "/private/etc/resolv.conf", "/private/etc/services", "/private/var/run/resolv.conf"),
		own("subpath", "/private/etc/ssl")...)...)
	w.rule("allow file-read-metadata", own("literal", "/private", "/private/etc", "/private/var", "/private/var/run")...)
	w.rule("allow sysctl-read", own("sysctl-name-prefix", "net.routetable")...)
	w.rule("allow mach-lookup", own("global-name",
		"com.apple.SecurityServer", "com.apple.SystemConfiguration.DNSConfiguration", "com.apple.SystemConfiguration.configd", "com.apple.dnssd.service",
		"com.apple.networkd", "com.apple.system.opendirectoryd.libinfo", "com.apple.trustd", "com.apple.trustd.agent")...)
}
