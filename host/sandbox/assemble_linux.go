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

// A condition is about 32 bits of an argument: those in mask have to be value, or must not be. The kernel takes an int by its lower 32 bits,
// whatever is in the others, and so does a condition.
type condition struct {
	argument    int
	upper       bool // not the lower 32 bits
	mask, value uint32
	not         bool
}

// answers says what comes of system calls, by their numbers; of all others that is EPERM.
type answers map[uint32]answer

// An answer allows a call if all conditions of one of its cases hold. One without cases is an error.
type answer struct {
	cases [][]condition
	errno unix.Errno // if no case does
}

// Actions of a filter (include/uapi/linux/seccomp.h).
const (
	retErrno = 0x0005_0000
	retAllow = 0x7fff_0000
)

// Places in struct seccomp_data.
const (
	numberOffset   = 0
	archOffset     = 4
	argumentOffset = 16
)

func ret(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: retErrno | uint32(errno)}
}

// assemble makes a program for the kernel. Calls of other architectures, which have other numbers, are refused.
//
// Each number has a program of its own, which the one around them finds by halving and which does not come back. So no argument is ever
// compared with what is meant for another call's, or for a number, and the kernel sees for itself that a call without conditions needs no
// program to be run (since Linux 5.11).
func (a answers) assemble(machine *arch.Info) ([]byte, error) {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(machine.ID), SkipTrue: 1},
		ret(unix.EPERM),
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
	}
	if machine.ID == arch.X86_64.ID { // x32 has its architecture
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

// find looks for the number among some, which are in order.
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

// jumpIf skips instructions. A conditional jump reaches 255 of them, another one all.
func jumpIf(what bpf.JumpTest, value uint32, skip int) []bpf.Instruction {
	return []bpf.Instruction{bpf.JumpIf{Cond: what, Val: value, SkipFalse: 1}, bpf.Jump{Skip: uint32(skip)}}
}

// program comes to an end whatever the arguments are.
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

// load gets the bits that a condition is about.
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
