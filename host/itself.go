package host

import (
	"fmt"
	"os"

	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/internal/wire"
)

// checkWorkerOfItself refuses a pool whose workers would be this program, if this process was started as such a worker and does not serve. Otherwise it would
// start workers that start workers, without end. A worker that serves has removed the cookie from its environment, and may open any pool.
func checkWorkerOfItself(cfg *Config) error {
	if cfg.Mode != ModeProcess || os.Getenv(wire.Handshake.MagicCookieKey) != wire.Handshake.MagicCookieValue {
		return nil
	}
	if cfg.Workload != nil {
		return &ConfigError{"Workload", fmt.Sprintf(
			"this process was started as a worker of the program, and did not serve: begin main with sdk.ServeChild and each workload that the program has pools of, such as %q",
			cfg.Workload.Manifest().Name)}
	}
	own, err := ownExecutable()
	if err != nil {
		return err
	}
	path, _ := Find(cfg.Plugin, cfg.PluginDirs...)
	if plugin, err := os.Stat(path); err == nil && os.SameFile(plugin, own) { // if the plugin cannot be found, its start reports that
		return &ConfigError{"Plugin", fmt.Sprintf("%q is this program, and this process was started as a worker of it and did not serve: begin main with sdk.Serve or sdk.ServeChild", path)}
	}
	return nil
}

// ownExecutable returns the file info of the executable of this process.
func ownExecutable() (os.FileInfo, error) {
	path, err := sandbox.Self()
	if err != nil {
		return nil, err
	}
	return os.Stat(path)
}
