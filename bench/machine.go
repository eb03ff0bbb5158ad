package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// machine describes the machine and the versions of a session, as lines for the report.
type machine struct {
	place    []string
	versions []string
}

// describeMachine collects the facts about the machine. It leaves out what the system does not tell.
func describeMachine(ctx context.Context, l *lab) machine {
	cpu := firstMatch("/proc/cpuinfo", `(?m)^model name\s*: (.*)$`)
	if cpu == "" {
		cpu = runtime.GOARCH
	}
	m := machine{place: []string{
		"on " + time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		fmt.Sprintf("%d CPUs for this process, %s", runtime.GOMAXPROCS(0), cpu),
	}}
	if kb := firstMatch("/proc/meminfo", `(?m)^MemTotal:\s+(\d+) kB$`); kb != "" {
		var n int64
		if _, err := fmt.Sscan(kb, &n); err == nil {
			m.place = append(m.place, showBytes(n*1024)+" of memory")
		}
	}
	system := runtime.GOOS
	if kernel := firstMatch("/proc/sys/kernel/osrelease", `\S+`); kernel != "" {
		system += " " + kernel
	}
	m.place = append(m.place, system)
	if load := firstMatch("/proc/loadavg", `^\S+`); load != "" {
		m.place = append(m.place, "load "+load+" before the first turn")
	}
	// The commit comes from git, because builds often use -buildvcs=false.
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output(); err == nil {
		m.versions = append(m.versions, "parhost "+strings.TrimSpace(string(out)))
	}
	m.versions = append(m.versions, buildVersions(l.parhost)...)
	if l.python != "" {
		m.versions = append(m.versions, "Python "+l.has["python"])
	}
	for _, name := range modules {
		if v := l.has[name]; v != "" {
			m.versions = append(m.versions, name+" "+v)
		}
	}
	for name, pattern := range map[string]string{"parallel": `^GNU parallel \S+`, "xargs": `^xargs \(.*`} {
		if out, err := exec.CommandContext(ctx, name, "--version").Output(); err == nil {
			m.versions = append(m.versions, regexp.MustCompile(pattern).FindString(string(out)))
		}
	}
	m.versions = slices.DeleteFunc(m.versions, func(v string) bool { return v == "" })
	return m
}

// firstMatch returns the text of the pattern's last group at the first match in a file, or "" if the file or a match is missing.
func firstMatch(path, pattern string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	found := regexp.MustCompile(pattern).FindStringSubmatch(string(text))
	if found == nil {
		return ""
	}
	return strings.TrimSpace(found[len(found)-1])
}

// buildVersions returns the versions of Go, go-plugin and gRPC with which the command was built.
func buildVersions(path string) []string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil
	}
	versions := []string{"Go " + strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		if d.Path == "github.com/hashicorp/go-plugin" || d.Path == "google.golang.org/grpc" {
			versions = append(versions, d.Path[strings.LastIndex(d.Path, "/")+1:]+" "+d.Version)
		}
	}
	return versions
}
