package cluster

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
)

// specOf turns a pool's config into the spec of a job. It refuses what cannot travel to other machines.
func specOf(cfg *host.Config, version string, seed uint64) (*clusterpb.Spec, error) {
	for _, f := range []struct {
		name string
		set  bool
		why  string
	}{
		{"Mode", cfg.Mode != "" && cfg.Mode != host.ModeProcess, "nodes run items in processes"},
		{"Dir", cfg.Dir != "", "a folder of this machine is none of a node's"},
		{"Sandbox", len(cfg.Sandbox.ReadOnly)+len(cfg.Sandbox.ReadWrite) > 0, "files of this machine are none of a node's"},
	} {
		if f.set {
			return nil, &ConfigError{"Config." + f.name, f.why}
		}
	}
	policy, err := json.Marshal(cfg.Sandbox)
	if err != nil {
		return nil, err
	}
	return &clusterpb.Spec{
		Version: version, Seed: seed, Env: cfg.Env, Sandbox: policy,
		Threads: uint32(cfg.Threads), Retries: uint32(cfg.Retries), MemoryRetries: int32(cfg.MemoryRetries), RetryAlways: cfg.RetryAlways,
		MaxItemBytes: uint64(cfg.MaxItemBytes), MaxResultBytes: uint64(cfg.MaxResultBytes), MaxOutputBytes: uint64(cfg.MaxOutputBytes),
		WorkerMaxItems: uint64(cfg.MaxItems), WorkerMaxRssBytes: uint64(cfg.MaxRSS), WorkerMaxAgeNs: uint64(cfg.MaxAge),
		ItemTimeoutNs: uint64(cfg.ItemTimeout), ItemCpuNs: uint64(cfg.ItemCPU), StartTimeoutNs: uint64(cfg.StartTimeout), SetupTimeoutNs: uint64(cfg.SetupTimeout),
		TeardownTimeoutNs: uint64(cfg.TeardownTimeout),
	}, nil
}

// configOf is the reverse of specOf.
func configOf(s *clusterpb.Spec) (cfg host.Config, err error) {
	cfg = host.Config{
		Env:     s.Env,
		Threads: int(s.Threads), Retries: int(s.Retries), MemoryRetries: int(s.MemoryRetries), RetryAlways: s.RetryAlways,
		MaxItemBytes: int(s.MaxItemBytes), MaxResultBytes: int(s.MaxResultBytes), MaxOutputBytes: int(s.MaxOutputBytes),
		MaxItems: int(s.WorkerMaxItems), MaxRSS: int64(s.WorkerMaxRssBytes), MaxAge: time.Duration(s.WorkerMaxAgeNs),
		ItemTimeout: time.Duration(s.ItemTimeoutNs), ItemCPU: time.Duration(s.ItemCpuNs), StartTimeout: time.Duration(s.StartTimeoutNs),
		SetupTimeout: time.Duration(s.SetupTimeoutNs), TeardownTimeout: time.Duration(s.TeardownTimeoutNs),
		PluginWorkload: s.Plugin.GetWorkload(),
	}
	if len(s.Sandbox) > 0 {
		err = json.Unmarshal(s.Sandbox, &cfg.Sandbox)
	}
	if len(cfg.Sandbox.ReadOnly)+len(cfg.Sandbox.ReadWrite) > 0 || cfg.Sandbox.CgroupParent != "" || cfg.Sandbox.TempDir != "" || cfg.Sandbox.UIDBase != 0 {
		err = errors.Join(err, errors.New("the job asks for files or groups of the node, which only its owner opens"))
	}
	return cfg, err
}

// poolKey returns what must be equal for two jobs to share the workers of a node.
func poolKey(s *clusterpb.Spec) string {
	own := proto.CloneOf(s)
	own.Seed, own.Metadata, own.Version = 0, nil, ""
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(own)
	if err != nil { // it was decoded, so it can be encoded
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// differences says in what a spec differs from the one that a job has.
func differences(is, was *clusterpb.Spec) string {
	var words []string
	if a, b := is.Plugin, was.Plugin; !proto.Equal(a, b) {
		words = append(words, fmt.Sprintf("plugin %q %s", b.GetName(), shortSum(b)))
	}
	if is.Seed != was.Seed {
		words = append(words, fmt.Sprintf("seed %d", was.Seed))
	}
	rest := func(s *clusterpb.Spec) *clusterpb.Spec {
		own := proto.CloneOf(s)
		own.Plugin, own.Seed, own.Version, own.Metadata = nil, 0, "", nil
		return own
	}
	if !proto.Equal(rest(is), rest(was)) {
		words = append(words, "other settings")
	}
	return strings.Join(words, ", ")
}

func shortSum(p *clusterpb.Plugin) string {
	var sums []string
	for platform, sum := range p.GetSha256() {
		sums = append(sums, platform+" "+sum[:min(12, len(sum))])
	}
	slices.Sort(sums)
	return strings.Join(sums, ", ")
}

// anyPlatform is the platform of a script.
const anyPlatform = "any"

// platformOf returns the platform of an executable, by its header. It returns an error for what is none.
func platformOf(content []byte) (string, error) {
	if bytes.HasPrefix(content, []byte("#!")) {
		return anyPlatform, nil
	}
	r := bytes.NewReader(content)
	if f, err := elf.NewFile(r); err == nil {
		arch := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x"}[f.Machine]
		return "linux/" + arch, nil
	}
	if f, err := macho.NewFile(r); err == nil {
		return "darwin/" + map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[f.Cpu], nil
	}
	if f, err := pe.NewFile(r); err == nil {
		return "windows/" + map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64"}[f.Machine], nil
	}
	return "", errors.New("it is neither an executable of Linux, macOS or Windows nor a script")
}

// mostPlugin is how large an executable may be.
const mostPlugin = 1 << 30

// readPlugin reads an executable.
func readPlugin(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Size() > mostPlugin:
		return nil, fmt.Errorf("%s has %d bytes, and the limit is %d", path, info.Size(), mostPlugin)
	}
	return os.ReadFile(path)
}
