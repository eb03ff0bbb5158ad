package sandbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parhost/parhost/host/sandbox"
)

// Best never chooses a level that cannot do what the policy asks for.
func ExampleBest() {
	policy := sandbox.Policy{AllowNet: true}
	level, err := sandbox.Best(context.Background(), policy)
	if err != nil {
		level = sandbox.Off // no barriers here; err says why
	}
	policy.Level = level // for host.Config.Sandbox
	fmt.Println(policy.Level == level)
	// Output: true
}

func ExampleChecksum() {
	dir, err := os.MkdirTemp("", "plugin")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/true\n"), 0o600); err != nil {
		panic(err)
	}
	fmt.Println(sandbox.Checksum(path))
	// Output: 1b577383bcfb9f191c785497f4ac34a8fb546807bd1094ef65d0ce9a5a63423e <nil>
}
