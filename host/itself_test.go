//go:build unix

package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
)

const (
	depthEnv = "PARHOST_TEST_DEPTH" // how many hosts there are above this one
	pathEnv  = "PARHOST_TEST_PATH"  // of the plugin; empty for the workload that is linked in
	maxDeep  = 3                    // hosts begin no others from here on, whatever the product does
)

// hostItself is a host whose workers are itself, and that does not serve.
func hostItself() {
	depth, _ := strconv.Atoi(os.Getenv(depthEnv))
	if depth >= maxDeep {
		fmt.Fprintln(os.Stderr, "too deep")
		os.Exit(1)
	}
	path := os.Getenv(pathEnv)
	cfg := host.Config{Workers: 1, Env: []string{hostEnv + "=of itself", depthEnv + "=" + strconv.Itoa(depth+1), pathEnv + "=" + path}}
	if path == "" {
		cfg.Workload = half
	} else {
		cfg.Plugin = path
	}
	_, err := host.Open(context.Background(), cfg)
	fmt.Fprintln(os.Stderr, "Open at depth", depth, err)
	os.Exit(1)
}

func TestAProgramThatDoesNotServeHasNoWorkersOfItsWorkers(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a workload": "", "its own executable": exe} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			cmd := hostCommand(t, "of itself")
			cmd.Env, cmd.Stderr = append(cmd.Env, pathEnv+"="+path), &stderr
			_ = cmd.Run()
			if said := stderr.String(); strings.Contains(said, "too deep") || !strings.Contains(said, "Open at depth 1 Config.") || !strings.Contains(said, "sdk.ServeChild") {
				t.Errorf("a program that hosts itself without serving: got\n%s\nwant its worker refused, with what to write in main", said)
			}
		})
	}
}

// A plugin may have pools of its own: of other plugins before it serves, and of any, itself too, while it runs items.
func TestAPluginMayBeAHost(t *testing.T) {
	t.Setenv("STATE_LOG", "")
	p := open(t, host.Config{Workload: chaos, Workers: 1, TempDir: shortDir(t)})
	if got, err := value(typed[order, string](p).Do(t.Context(), order{Do: "host"})); err != nil || got != "2" {
		t.Errorf("an item with a pool of its own: got %q, %v, want 2", got, err)
	}
}

func init() {
	systemOrders["host"] = func(order) (string, error) {
		p, err := host.Open(context.Background(), host.Config{Workload: half, Workers: 1})
		if err != nil {
			return "", err
		}
		defer p.Close()
		got, err := value(typed[float64, float64](p).Do(context.Background(), 4))
		return fmt.Sprint(got), err
	}
}
