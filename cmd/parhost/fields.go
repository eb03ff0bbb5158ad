package main

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/parhost/parhost/host"
)

// flagsOf maps each field of [host.Config] and of its Sandbox that an error may name to what a user of the command sets instead: a flag, an
// environment variable, or cd.
var flagsOf = map[string]string{
	"Plugin": "--plugin", "PluginDirs": "--plugin-dir", "PluginWorkload": "--plugin", "Workload": "--plugin", "Checksum": "--checksum", "Mode": "--mode",
	"Workers": "--procs", "MinWorkers": "--min-procs", "Standby": "--standby", "Threads": "--threads", "Env": "--env", "Dir": "cd", "TempDir": "TMPDIR",
	"Batch": "--batch", "Window": "--window",
	"ItemTimeout": "--item-timeout", "ItemCPU": "--item-cpu", "StartTimeout": "--start-timeout", "SetupTimeout": "--setup-timeout", "TeardownTimeout": "--teardown-timeout",
	"MaxItemBytes": "--max-item-bytes", "MaxResultBytes": "--max-result-bytes", "MaxOutputBytes": "--max-output-bytes",
	"Retries": "--retries", "MemoryRetries": "--memory-retries", "RetryAlways": "--retry-always",
	"MaxItems": "--worker-max-items", "MaxAge": "--worker-max-age", "MaxRSS": "--worker-max-rss", "MaxIdle": "--worker-max-idle",
	"Sandbox": "--sandbox", "Level": "--sandbox", "MemoryBytes": "--memory", "CPUs": "--cpus", "PIDs": "--pids", "TmpBytes": "--tmp-size",
	"OpenFiles": "--open-files", "FileBytes": "--file-size", "ReadOnly": "--ro", "ReadWrite": "--rw", "AllowNet": "--allow-net", "AllowFork": "--allow-fork",
}

// field matches a field as errors of the library name it: (Policy.PIDs), Config.Sandbox.PIDs: 3 …
var field = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\b(?:Config|Policy)\.(?:Sandbox\.)?(` + strings.Join(slices.Sorted(maps.Keys(flagsOf)), "|") + `)\b(?:\[\d+\])?`)
})

// inFlags replaces the field names in a text of the library by flags of the command.
func inFlags(text string) string {
	if !strings.Contains(text, "Config.") && !strings.Contains(text, "Policy.") {
		return text
	}
	fields := field()
	return fields.ReplaceAllStringFunc(text, func(found string) string { return flagsOf[fields.FindStringSubmatch(found)[1]] })
}

// inFlagsOf replaces field names in an item's error by flags, but only if the host wrote the message. The message of a workload stays as it is.
func inFlagsOf(e *host.ItemError) {
	switch e.Kind {
	case host.KindOversize, host.KindOutOfMemory, host.KindCrashed, host.KindTimeout:
		e.Message = inFlags(e.Message)
	}
}

// flagWords is a writer that replaces field names in texts of the library by flags of the command.
type flagWords struct{ to io.Writer }

func (w flagWords) Write(text []byte) (int, error) {
	if _, err := io.WriteString(w.to, inFlags(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}
