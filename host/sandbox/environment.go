package sandbox

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// envSockets is the variable with the plugin's folder for its socket. The name is go-plugin's.
const envSockets = "PLUGIN_UNIX_SOCKET_DIR"

// envOrigin is the variable that tells the loader the program's folder, beside which its libraries may lie ($ORIGIN). The loader uses it if it cannot
// read /proc/self/exe (ld.so(8)).
const envOrigin = "LD_ORIGIN_PATH"

// envLibraries is the variable with folders in which the loader looks before others (ld.so(8)).
const envLibraries = "LD_LIBRARY_PATH"

// environment adds variables that tell the plugin's libraries its limits. Without /proc and /sys they cannot find them out.
func environment(p *Policy, env []string) []string {
	if p.MemoryBytes > 0 && variable(env, "GOMEMLIMIT") == "" {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(p.MemoryBytes/10*9, 10))
	}
	if p.CPUs > 0 {
		most := int(math.Ceil(p.CPUs))
		if n, err := strconv.Atoi(variable(env, "GOMAXPROCS")); err != nil || n > most {
			env = setVariable(env, "GOMAXPROCS", strconv.Itoa(most))
		}
	}
	if p.Level == Strict {
		env = setVariable(setVariable(env, "HOME", "/tmp"), "TMPDIR", "/tmp")
	}
	return env
}

func variable(env []string, key string) string {
	for _, kv := range slices.Backward(env) {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}

func setVariable(env []string, key, value string) []string {
	env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
	return append(env, key+"="+value)
}
