//go:build linux || darwin

package sandbox

import (
	"slices"
	"strings"
)

// envSockets tells a plugin the folder for its socket. The name is go-plugin's.
const envSockets = "PLUGIN_UNIX_SOCKET_DIR"

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
