// Package seatbelt writes profiles for macOS's sandbox-exec(1), and says what they lack for a program.
//
// Nothing in it asks the system, so that it can be tested on every one. The profile language is Apple's and not documented; its names are
// those of the profiles in /System/Library/Sandbox/Profiles, which use the same language.
package seatbelt

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Loader is where a system that has it keeps Apple's rules for what the dynamic linker does before a program runs. Where it is there, its
// rules are better than ours.
const Loader = "/System/Library/Sandbox/Profiles/dyld-support.sb"

// System are the folders in which macOS keeps what every program loads. The system's volume is sealed: nothing of a user's is in them.
var System = []string{"/usr/lib", "/System/Library", "/System/Cryptexes/OS", "/System/Volumes/Preboot/Cryptexes/OS"}

// Profile is what one process may do. Paths are absolute, clean and free of links: the kernel compares them with where a file really lies.
type Profile struct {
	Executable   string   // the plugin, which may be read and executed
	Interpreters []string // what executes it, if it is a script
	Sockets      string   // the folder of its socket
	ReadOnly     []string
	ReadWrite    []string
	Links        []string // other paths by which these are known; their folders, which may be links, can be looked at
	Net          bool     // it may use the network
	Fork         bool     // it may start processes
	Loader       bool     // the system has the file [Loader]
}

// Arguments returns those of sandbox-exec for a command that is to follow them.
//
// Paths are parameters, by number, and never part of the profile's text: whatever is in a name, it cannot become a rule.
func (p *Profile) Arguments() ([]string, error) {
	w := &writer{}
	w.begin(p)
	w.program(p)
	w.socket(p)
	w.files(p)
	if p.Fork {
		// A process has the profile of who started it, for ever.
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
	values []string // of the parameters
	err    error
}

func name(i int) string { return "P" + strconv.Itoa(i) }

// rule writes one. A rule with several filters holds where one of them does.
func (w *writer) rule(action string, filters ...string) {
	w.text.WriteString("(" + action)
	for _, f := range filters {
		w.text.WriteString("\n  " + f)
	}
	w.text.WriteString(")\n")
}

// filter is one of paths: subpath for a folder with all that is in it, literal for that file alone.
func (w *writer) filter(kind, file string) string {
	switch {
	case !path.IsAbs(file) || path.Clean(file) != file:
		w.fail(file, "is not absolute and clean")
	case !utf8.ValidString(file): // no file system of macOS has such names
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

// quote writes a text of our own, which has nothing in it that would have to be escaped.
func quote(s string) string { return `"` + s + `"` }

// own are filters for texts of our own.
func own(kind string, values ...string) []string {
	var all []string
	for _, v := range values {
		all = append(all, "("+kind+" "+quote(v)+")")
	}
	return all
}

// begin writes what every process needs, whatever it is.
func (w *writer) begin(p *Profile) {
	w.rule("version 1")
	w.rule("deny default")
	if p.Loader {
		w.rule(`import "dyld-support.sb"`)
	}
	w.rule("allow file-read* file-map-executable", own("subpath", System...)...)
	// What runs programs for Intel on Apple's own processors.
	w.rule("allow file-read* file-map-executable", own("literal", "/Library/Apple/usr/libexec/oah/libRosettaRuntime")...)
	// The dynamic linker looks at the root before anything else; up to macOS 11 its cache was in the folder.
	w.rule("allow file-read*", append(own("literal", "/", "/dev/zero", "/dev/random", "/dev/urandom"),
		own("subpath", "/private/var/db/dyld", "/usr/share/zoneinfo", "/private/var/db/timezone")...)...)
	w.rule("allow file-read* file-write-data", own("literal", "/dev/null")...)
	// Every C library tries it, and does without; the system's log need not hear of it.
	w.rule("deny file-read* file-write* file-ioctl (with no-log)", own("literal", "/dev/dtracehelper")...)
	// What the machine is like. Not all of sysctl: kern.proc and kern.procargs tell of other processes, with their environment.
	w.rule("allow sysctl-read", append(own("sysctl-name-prefix", "hw.", "machdep.cpu."), own("sysctl-name",
		"kern.argmax", "kern.bootargs", "kern.hostname", "kern.ipc.somaxconn", "kern.maxfilesperproc", "kern.osproductversion", "kern.osrelease",
		"kern.ostype", "kern.osvariant_status", "kern.osversion", "kern.secure_kernel", "kern.usrstack64", "kern.version",
		"sysctl.name2oid", "sysctl.proc_cputype", "sysctl.proc_native", "sysctl.proc_translated", "vm.pagesize")...)...)
	w.rule("allow signal", "(target self)") // also what Go sends its own threads
	w.rule("allow process-info*", "(target self)")
}

// program opens the plugin. sandbox-exec executes it from inside, so that it needs that right, as does who wants to execute itself.
func (w *writer) program(p *Profile) {
	programs := append([]string{p.Executable}, p.Interpreters...)
	if len(p.ReadOnly) > 0 {
		action := "allow file-read* file-map-executable"
		if p.Fork {
			action += " process-exec*"
		}
		w.rule(action, w.filters("subpath", p.ReadOnly)...)
	}
	if len(p.ReadWrite) > 0 { // also where it lies in one of the above
		w.rule("deny file-map-executable process-exec*", w.filters("subpath", p.ReadWrite)...)
	}
	w.rule("allow file-read* file-map-executable process-exec*", w.filters("literal", programs)...) // of several rules the last one holds
}

// socket opens the folder of the socket. go-plugin finds a free name by making a file, and puts the socket in its place. There are to be no
// links, which would lead a host elsewhere that calls the socket.
func (w *writer) socket(p *Profile) {
	folder := w.filter("subpath", p.Sockets)
	w.rule("allow file-read* file-write-data file-write-unlink file-write-mode", folder)
	w.rule("allow file-write-create", "(require-all "+folder+" (require-any (vnode-type REGULAR-FILE) (vnode-type SOCKET)))")
	w.rule("allow system-socket", "(socket-domain AF_UNIX)")
	w.rule("allow network-bind network-inbound", "(local unix-socket "+folder+")")
}

// files opens what the policy says, and lets the process look at the folders above all that it has, by which it is found.
func (w *writer) files(p *Profile) {
	if len(p.ReadWrite) > 0 {
		// Everything that is called file-write* but owners, set-user-id and mounts.
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
	// Links of the system, by which people and programs call its folders.
	w.rule("allow file-read-metadata", append(own("literal", "/etc", "/tmp", "/var"), w.filters("literal", slices.Compact(above))...)...)
}

// network opens it as far as the host's user has it, with what the system's libraries ask to find names and to check certificates.
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
