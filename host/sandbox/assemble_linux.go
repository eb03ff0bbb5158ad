package sandbox

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A condition tests 32 bits of an argument: the bits in mask must equal value, or must not if not is set. The kernel reads an int from the lower 32
// bits of an argument and ignores the upper bits, so conditions test the lower bits by default.
type condition struct {
	argument    int
	upper       bool // test the upper 32 bits
	mask, value uint32
	not         bool
}

// answers maps numbers of system calls to their answers. Calls that are not in it get EPERM.
type answers map[uint32]answer

// An answer allows a call if all conditions of one of its cases hold. An answer without cases always returns errno.
type answer struct {
	cases [][]condition
	errno unix.Errno // returned if no case holds
}

// Actions of a filter (include/uapi/linux/seccomp.h).
const (
	retErrno = 0x0005_0000
	retAllow = 0x7fff_0000
)

// Offsets in struct seccomp_data.
const (
	numberOffset   = 0
	archOffset     = 4
	argumentOffset = 16
)

func ret(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: retErrno | uint32(errno)}
}

// assemble returns a seccomp program for the kernel. It refuses calls of other architectures, because their numbers mean other calls.
//
// Each system call has a part of its own, which ends in a return. A binary search by number finds it. So the program never compares an argument with
// a value for another call, or with a number. The kernel can also see that a call without conditions is always allowed, and need not run the program
// for it (since Linux 5.11).
func (a answers) assemble(machine *arch.Info) ([]byte, error) {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(machine.ID), SkipTrue: 1},
		ret(unix.EPERM),
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
	}
	if machine.ID == arch.X86_64.ID { // x32 calls have the same architecture id
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(arch.X32.SeccompMask), SkipTrue: 1},
			ret(unix.ENOSYS),
		)
	}
	raw, err := bpf.Assemble(append(program, a.find(slices.Sorted(maps.Keys(a)))...))
	if err != nil {
		return nil, err
	}
	if len(raw) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("a filter of %d instructions, the limit is %d", len(raw), unix.BPF_MAXINSNS)
	}
	var b []byte
	for _, r := range raw {
		b = binary.NativeEndian.AppendUint16(b, r.Op)
		b = append(b, r.Jt, r.Jf)
		b = binary.NativeEndian.AppendUint32(b, r.K)
	}
	return b, nil
}

// find returns a binary search for the system call's number among numbers, which are sorted.
func (a answers) find(numbers []uint32) []bpf.Instruction {
	if len(numbers) == 0 {
		return []bpf.Instruction{ret(unix.EPERM)}
	}
	if len(numbers) == 1 {
		then := a[numbers[0]].program()
		return slices.Concat(jumpIf(bpf.JumpNotEqual, numbers[0], len(then)), then, []bpf.Instruction{ret(unix.EPERM)})
	}
	half := len(numbers) / 2
	lower := a.find(numbers[:half])
	return slices.Concat(jumpIf(bpf.JumpGreaterOrEqual, numbers[half], len(lower)), lower, a.find(numbers[half:]))
}

// jumpIf returns instructions that skip the next skip instructions if the test holds. A conditional jump reaches only 255 instructions, an
// unconditional jump reaches all.
func jumpIf(what bpf.JumpTest, value uint32, skip int) []bpf.Instruction {
	return []bpf.Instruction{bpf.JumpIf{Cond: what, Val: value, SkipFalse: 1}, bpf.Jump{Skip: uint32(skip)}}
}

// program returns the instructions that test the arguments of one call. They end in a return for all arguments.
func (a answer) program() []bpf.Instruction {
	var program []bpf.Instruction
	for _, conditions := range a.cases {
		all := []bpf.Instruction{bpf.RetConstant{Val: retAllow}}
		for _, c := range slices.Backward(conditions) {
			fails := bpf.JumpNotEqual
			if c.not {
				fails = bpf.JumpEqual
			}
			all = slices.Concat(append(c.load(), jumpIf(fails, c.value, len(all))...), all)
		}
		if program = append(program, all...); len(conditions) == 0 {
			return program
		}
	}
	return append(program, ret(a.errno))
}

// load returns the instructions that load the bits that the condition tests.
func (c *condition) load() []bpf.Instruction {
	offset := uint32(argumentOffset + 8*c.argument)
	if littleEndian := binary.NativeEndian.Uint16([]byte{1, 0}) == 1; c.upper == littleEndian {
		offset += 4
	}
	load := []bpf.Instruction{bpf.LoadAbsolute{Off: offset, Size: 4}}
	if c.mask != ^uint32(0) {
		load = append(load, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
	}
	return load
}
