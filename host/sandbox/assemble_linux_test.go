package sandbox

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filters are policies that together use all parts of a filter.
var filters = map[string]needs{
	"basic":                   {level: Basic, exec: 1024},
	"strict":                  {level: Strict, exec: 1024},
	"a script":                {level: Basic, exec: -1},
	"with net":                {level: Basic, exec: 1024, net: true},
	"with processes":          {level: Strict, exec: 1024, fork: true, kill: true},
	"with all, and no signal": {level: Strict, exec: -1, fork: true, net: true},
}

// filterVM runs a filter as the kernel does.
type filterVM struct {
	answers answers
	machine *arch.Info
	vm      *bpf.VM
}

func newFilterVM(t testing.TB, n needs) *filterVM {
	t.Helper()
	machine, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.filter()
	if err != nil {
		t.Fatal(err)
	}
	var program []bpf.Instruction
	for ; len(b) > 0; b = b[8:] {
		raw := bpf.RawInstruction{Op: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])}
		program = append(program, raw.Disassemble())
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return &filterVM{n.answers(machine.SyscallNames), machine, vm}
}

// run returns the filter's result for a call. The kernel loads words in its own byte order, but the VM loads them as a packet's, in big endian.
func (f *filterVM) run(t testing.TB, arch, number uint32, args [6]uint64) int {
	t.Helper()
	data := make([]byte, argumentOffset+8*len(args))
	binary.BigEndian.PutUint32(data[numberOffset:], number)
	binary.BigEndian.PutUint32(data[archOffset:], arch)
	for i, a := range args {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], a)
		for half := range 2 {
			binary.BigEndian.PutUint32(data[argumentOffset+8*i+4*half:], binary.NativeEndian.Uint32(b[4*half:]))
		}
	}
	got, err := f.vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// want returns the expected result of a call, computed without a program.
func (f *filterVM) want(number uint32, args [6]uint64) int {
	if number >= uint32(arch.X32.SeccompMask) && f.machine.ID == arch.X86_64.ID {
		return retErrno | int(unix.ENOSYS)
	}
	a, known := f.answers[number]
	if !known {
		return retErrno | int(unix.EPERM)
	}
	for _, conditions := range a.cases {
		all := true
		for _, c := range conditions {
			word := uint32(args[c.argument])
			if c.upper {
				word = uint32(args[c.argument] >> 32)
			}
			all = all && (word&c.mask == c.value) != c.not
		}
		if all {
			return retAllow
		}
	}
	return retErrno | int(a.errno)
}

func (f *filterVM) check(t testing.TB, number uint32, args [6]uint64) {
	t.Helper()
	if got, want := f.run(t, uint32(f.machine.ID), number, args), f.want(number, args); got != want {
		t.Fatalf("call %d with %#x: got %#x, want %#x", number, args, got, want)
	}
}

// The result of a call depends only on the rules for that call, even if its arguments look like the numbers of other calls or like their arguments.
func TestEachCallHasItsOwnAnswer(t *testing.T) {
	for name, n := range filters {
		t.Run(name, func(t *testing.T) {
			f := newFilterVM(t, n)
			numbers := slices.Sorted(maps.Keys(f.answers))
			words := append(slices.Clone(numbers), 0, 1, ^uint32(0))
			for _, a := range f.answers {
				for _, c := range slices.Concat(a.cases...) {
					words = append(words, c.value, c.value|^c.mask)
				}
			}
			seed := rand.Uint64()
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			random := rand.New(rand.NewPCG(seed, 0))
			draw := func() uint64 { return uint64(words[random.IntN(len(words))]) }
			for range 20_000 {
				number := uint32(draw())
				var args [6]uint64
				for i := range args {
					args[i] = draw()
					if random.IntN(2) == 0 {
						args[i] |= draw() << 32
					}
				}
				f.check(t, number, args)
			}
		})
	}
}

// Calls of another architecture are refused, because their numbers mean other calls.
func TestOtherArchitecturesAreRefused(t *testing.T) {
	f := newFilterVM(t, filters["strict"])
	for number := range uint32(512) {
		if got, want := f.run(t, uint32(arch.ARM.ID), number, [6]uint64{}), retErrno|int(unix.EPERM); got != want {
			t.Errorf("call %d: got %#x, want %#x", number, got, want)
		}
	}
}

// No filter allows these calls, whatever else it allows.
func TestNoFilterAllows(t *testing.T) {
	type args = [6]uint64
	calls := map[string]map[string]args{
		"socket":      {"netlink": {unix.AF_NETLINK, unix.SOCK_RAW}, "raw": {unix.AF_INET, unix.SOCK_RAW}, "mptcp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "unix datagram": {unix.AF_UNIX, unix.SOCK_DGRAM}},
		"clone":       {"user namespace": {unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, "thread in a namespace": {unix.CLONE_THREAD | unix.CLONE_NEWNET}, "child of the host": {unix.CLONE_PARENT}},
		"close_range": {"descriptors of its own": {1, 2, unix.CLOSE_RANGE_UNSHARE}, "with more": {1, 2, unix.CLOSE_RANGE_UNSHARE | unix.CLOSE_RANGE_CLOEXEC}},
		"getsockopt":  {"process at the other end": {0, unix.SOL_SOCKET, unix.SO_PEERPIDFD}},
		"setsockopt":  {"tls": {0, unix.SOL_TCP, unix.TCP_ULP}, "processes of senders": {0, unix.SOL_SOCKET, unix.SO_PASSPIDFD}, "filter": {0, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}},
		"fcntl":       {"owner": {0, unix.F_SETOWN, 1}, "owner, extended": {0, unix.F_SETOWN_EX}, "signal": {0, unix.F_SETSIG, 9}, "lease": {0, unix.F_SETLEASE}, "notify": {0, unix.F_NOTIFY}},
		"ioctl":       {"TIOCSTI": {0, unix.TIOCSTI}, "group": {0, unix.SIOCSPGRP}},
		"prctl":       {"parent-death signal": {unix.PR_SET_PDEATHSIG}, "dumpable": {unix.PR_SET_DUMPABLE}, "seccomp": {unix.PR_SET_SECCOMP}},
		"prlimit64":   {"set": {0, 0, 1}, "set, high": {0, 0, 1 << 32}},
		"poll":        {"more than 64": {0, 65}, "as many as there are": {0, 1 << 20}, "the most": {0, 0xffff_ffff}},
		"ppoll":       {"more than 64": {0, 65}},
		"select":      {"more than 64": {65}},
		"pselect6":    {"more than 64": {65}, "more than 1024": {1088}},
		"madvise":     {"hole": {0, 1 << 16, unix.MADV_REMOVE}},
		"fallocate":   {"hole": {0, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE}, "zeros": {0, unix.FALLOC_FL_ZERO_RANGE}},
		"ptrace":      {"seize": {0x4206}}, "mount": {"": {}}, "unshare": {"": {}}, "bpf": {"": {}}, "io_uring_setup": {"": {}}, "memfd_create": {"": {}}, "pidfd_send_signal": {"": {}},
	}
	for name, n := range filters {
		f := newFilterVM(t, n)
		for call, cases := range calls {
			for what, a := range cases {
				number, known := f.machine.SyscallNames[call]
				if !known {
					t.Fatalf("there is no call %s", call)
				}
				for _, upper := range []uint64{0, 1, uint64(f.machine.SyscallNames["prlimit64"]), 0xffff_ffff} {
					wide := a
					if call != "prlimit64" { // its argument is a pointer
						wide[0], wide[1] = wide[0]|upper<<32, wide[1]|upper<<32
					}
					if got := f.run(t, uint32(f.machine.ID), uint32(number), wide); got == retAllow {
						t.Errorf("%s: %s (%s) with %#x is allowed", name, call, what, wide)
					}
				}
			}
		}
	}
}

// A filter gives the result of its rules for all arguments.
func FuzzFilter(f *testing.F) {
	all := make([]*filterVM, 0, len(filters))
	for _, name := range slices.Sorted(maps.Keys(filters)) {
		all = append(all, newFilterVM(f, filters[name]))
	}
	f.Add(uint32(unix.SYS_SOCKET), uint64(unix.SYS_PRLIMIT64<<32|unix.AF_INET), uint64(unix.SOCK_DGRAM), uint64(0), uint64(0), uint64(0))
	f.Add(uint32(unix.SYS_KILL), uint64(unix.SYS_PRLIMIT64<<32|1), uint64(unix.SIGKILL), uint64(0), uint64(0), uint64(0))
	f.Add(uint32(unix.SYS_FCNTL), uint64(0), uint64(unix.F_SETOWN), uint64(1), uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, number uint32, a, b, c, d, e uint64) {
		for _, vm := range all {
			vm.check(t, number, [6]uint64{a, b, c, d, e})
		}
	})
}
