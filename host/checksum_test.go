package host_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/sandbox"
	"github.com/parhost/parhost/plugins/sqrt"
)

// A pool runs items with the executable that its checksum names, and says which it was; it refuses another one.
func TestChecksum(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	checksum, err := sandbox.Checksum(self)
	if err != nil {
		t.Fatal(err)
	}
	cfg := host.Config{Workload: sqrt.Workload, Workers: 2, Checksum: checksum}
	p, err := host.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Open: got the error %v", err)
	}
	defer p.Close()
	got, err := typed[float64, float64](p).Map(t.Context(), []float64{4, 9})
	if err != nil || len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("Map: got %v and %v, want 2 and 3", got, err)
	}
	if p.Checksum() != checksum {
		t.Errorf("got the checksum %q, want %q", p.Checksum(), checksum)
	}

	cfg.Checksum = strings.Repeat("5a", 32)
	if p, err := host.Open(t.Context(), cfg); err == nil {
		p.Close()
		t.Error("Open with another checksum: got a pool")
	} else if e, ok := errors.AsType[*sandbox.ChecksumError](err); !ok || e.Got != checksum {
		t.Errorf("Open with another checksum: got %v, want a ChecksumError with %s", err, checksum)
	}
	if _, err := host.Describe(t.Context(), cfg); err == nil {
		t.Error("Describe with another checksum: got no error")
	}
}

func TestChecksumIsChecked(t *testing.T) {
	for name, cfg := range map[string]host.Config{
		"short":     {Workload: sqrt.Workload, Checksum: "5a"},
		"no digits": {Workload: sqrt.Workload, Checksum: strings.Repeat("zz", 32)},
		"goroutine": {Workload: sqrt.Workload, Checksum: strings.Repeat("5a", 32), Mode: host.ModeGoroutine},
	} {
		p, err := host.Open(t.Context(), cfg)
		if err == nil {
			p.Close()
		}
		if e, ok := errors.AsType[*host.ConfigError](err); !ok || e.Field != "Checksum" {
			t.Errorf("%s: got %v, want a ConfigError of Checksum", name, err)
		}
	}
}
