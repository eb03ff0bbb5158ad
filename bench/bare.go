package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
)

// Contenders that do only what is unavoidable. Their times are the limits for parhost. Their processes run bench/bare, which links nothing of parhost.
const (
	barePipe  = "limit: a bare pipe"
	bareArena = "limit: bare shared memory"
)

// bareProcess is a process of bench/bare.
type bareProcess struct {
	cmd *exec.Cmd
	in  *os.File
	out *os.File
}

// startBare starts a process of bench/bare, which inherits the files.
func startBare(ctx context.Context, l *lab, files []*os.File, args ...string) (*bareProcess, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), in.Close())
	}
	p := &bareProcess{exec.CommandContext(ctx, l.bare, args...), in, out}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = theirIn, theirOut, os.Stderr, files
	if err := errors.Join(p.cmd.Start(), theirIn.Close(), theirOut.Close()); err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	// Fd makes both ends blocking: a system call that waits is faster than the runtime's poller.
	_, _ = in.Fd(), out.Fd()
	return p, nil
}

// ask sends a message and replaces it by the answer, which has the same length.
func (p *bareProcess) ask(message []byte) error {
	if _, err := p.in.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(p.out, message)
	return err
}

func (p *bareProcess) stop() error {
	return errors.Join(p.in.Close(), p.cmd.Wait(), p.out.Close())
}

// pipeSingle measures the round trip of one number through two pipes.
func pipeSingle(ctx context.Context, l *lab, n int) (m measurement, err error) {
	p, err := startBare(ctx, l, nil)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	message := make([]byte, 8)
	samples, results, err := each(numbers(n), func(x float64) (float64, error) {
		binary.NativeEndian.PutUint64(message, math.Float64bits(x))
		err := p.ask(message)
		return math.Float64frombits(binary.NativeEndian.Uint64(message)), err
	})
	return measurement{samples: samples, answer: digest(results)}, err
}

// arenaSqrt measures two processes that share memory with this one, and compute half of the roots each. The items are copied into the memory, and the results
// out of it.
func arenaSqrt(ctx context.Context, l *lab, n int) (m measurement, err error) {
	file, arena, err := bareMemory(n)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var both [2]*bareProcess
	for i := range both {
		from, to := i*n/2, (i+1)*n/2
		p, err := startBare(ctx, l, []*os.File{file}, fmt.Sprint(from), fmt.Sprint(to))
		if err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, p.stop()) }()
		both[i] = p
	}
	xs, results, message := numbers(n), make([]float64, n), []byte{0}
	samples, err := warm(l, func() error {
		copy(arena, xs)
		for _, p := range both {
			if _, err := p.in.Write(message); err != nil {
				return err
			}
		}
		for _, p := range both {
			if _, err := io.ReadFull(p.out, message); err != nil {
				return err
			}
		}
		copy(results, arena)
		return nil
	})
	return measurement{samples: samples, answer: digest(results)}, err
}
