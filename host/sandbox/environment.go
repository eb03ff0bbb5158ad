package sandbox

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// envSockets tells a plugin the folder for its socket. The name is go-plugin's.
const envSockets = "PLUGIN_UNIX_SOCKET_DIR"

// envOrigin tells the loader where the program lies, beside which its libraries may be ($ORIGIN). It looks there if /proc/self/exe does not say so
// (ld.so(8)).
const envOrigin = "LD_ORIGIN_PATH"

// envLibraries are folders in which the loader looks before others (ld.so(8)).
const envLibraries = "LD_LIBRARY_PATH"

// environment tells the plugin's libraries what its limits are: without /proc and /sys they cannot find out.
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
