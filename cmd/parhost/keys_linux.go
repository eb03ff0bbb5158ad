package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// tty is the controlling terminal while it hands over each key at once.
type tty struct {
	file   *os.File
	before unix.Termios
	jobs   chan os.Signal // of the shell's job control
	done   sync.WaitGroup
}

var errBackground = errors.New("the command runs in the background")

// openKeyboard returns the keys of the controlling terminal. Ctrl-C and the like stay what they are.
func openKeyboard() (keyboard, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t := &tty{file: f, jobs: make(chan os.Signal, 1)}
	if err := t.take(); err != nil {
		_ = f.Close()
		return nil, err
	}
	signal.Notify(t.jobs, unix.SIGTSTP, unix.SIGCONT)
	t.done.Go(t.followJobs)
	return t, nil
}

// followJobs gives the terminal back to the shell while this process is stopped by Ctrl-Z.
func (t *tty) followJobs() {
	for s := range t.jobs {
		switch s {
		case unix.SIGTSTP:
			t.giveBack()
			_ = unix.Kill(unix.Getpid(), unix.SIGSTOP) // what the signal would have done
		case unix.SIGCONT:
			_ = t.take() // an error means that the shell still has the terminal
		}
	}
}

// take lets the terminal hand over each key at once, and drops what has been typed before.
func (t *tty) take() error {
	return t.control(func(fd int) error {
		if !isForeground(fd) { // the kernel would stop this process
			return errBackground
		}
		mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		if mode.Lflag&unix.ICANON != 0 {
			t.before = *mode
		}
		mode.Lflag &^= unix.ICANON | unix.ECHO
		mode.Cc[unix.VMIN], mode.Cc[unix.VTIME] = 1, 0
		return unix.IoctlSetTermios(fd, unix.TCSETSF, mode)
	})
}

// giveBack makes the terminal what it was before. A failure has nobody to be reported to.
func (t *tty) giveBack() {
	_ = t.control(func(fd int) error {
		if !isForeground(fd) {
			return errBackground
		}
		return unix.IoctlSetTermios(fd, unix.TCSETS, &t.before)
	})
}

// control calls f with the descriptor. [os.File.Fd] would make Read block.
func (t *tty) control(f func(fd int) error) error {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// isForeground reports whether the terminal listens to this process: it may be a background job of a shell.
func isForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Read implements [keyboard]. A process in the background does not read: the kernel would stop it.
func (t *tty) Read(b []byte) (n int, err error) {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	waitErr := raw.Read(func(fd uintptr) bool {
		if !isForeground(int(fd)) {
			return false // wait for the next key
		}
		n, err = unix.Read(int(fd), b)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case err == nil && n <= 0:
		return 0, io.EOF
	}
	return n, err
}

// Close implements [keyboard].
func (t *tty) Close() error {
	signal.Stop(t.jobs)
	close(t.jobs)
	t.done.Wait()
	t.giveBack()
	return t.file.Close()
}
