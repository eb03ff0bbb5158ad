//go:build unix

package cluster_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// stockRig is a rig whose server is a nats-server as it comes, of the module's version.
func stockRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, stock: filepath.Join(t.TempDir(), "nats-server")}
	if out, err := exec.Command("go", "build", "-o", r.stock, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	r.open(1, 2)
	return r
}

func TestARunOnAStockServer(t *testing.T) {
	t.Parallel()
	r := stockRig(t)
	r.run(2000, func() {})
	r.run(2000, func() { // on streams that are there
		r.servers[0].kill(t)
		r.serve(0)
	})
}
