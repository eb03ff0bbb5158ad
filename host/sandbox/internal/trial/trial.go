// Package trial tries walls from inside: a process is started at a level of the sandbox, attempts what the level forbids, and tells.
//
// The process is the host's own program, started once more; a program that links this package makes the trial before its main if
// [Variable] is set. Linux has no use for it: its launcher makes its own.
package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// Variable holds the [Task] of a process that is to make a trial.
const Variable = "PARHOST_SANDBOX_TRIAL"

// Task says what to attempt.
type Task struct {
	Secret  string // a file that the host's user alone may read
	Folder  string // a folder of the host's, in which no file is to be made
	Address string // of a TCP server of the host's
	Socket  string // where a plugin listens; not on Windows
	Host    int    // the host's process
}

// Outcome says for each attempt why it failed; empty if it did not.
type Outcome struct {
	Read    string // of the secret
	Write   string // of a file in the folder
	Connect string // to the host's server
	Signal  string // to the host: whether it could be ended
	Start   string // of a process
	Listen  string // where a plugin has to, which must be possible
}

// Judge says which wall did not hold, or what was closed that should not be, where network and processes may be open.
func (o *Outcome) Judge(network, fork bool) error {
	for _, a := range []struct {
		what, failure string
		allowed       bool
	}{
		{"read a file of its host", o.Read, false},
		{"write to a folder of its host", o.Write, false},
		{"connect to its host", o.Connect, network},
		{"signal its host", o.Signal, false},
		{"start a process", o.Start, fork},
		{"listen where it should", o.Listen, true},
	} {
		switch {
		case a.failure == "" && !a.allowed:
			return errors.New("the process could " + a.what)
		case a.failure != "" && a.allowed:
			return fmt.Errorf("the process could not %s: %s", a.what, a.failure)
		}
	}
	return nil
}

func init() {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return
	}
	var t Task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if t == (Task{}) { // started by a trial, and that is all
		os.Exit(0)
	}
	if err := json.NewEncoder(os.Stdout).Encode(t.attempt()); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// attemptTime is more than any attempt takes that comes to something.
const attemptTime = 2 * time.Second

func (t *Task) attempt() Outcome {
	return Outcome{
		Read:    outcome(read(t.Secret)),
		Write:   outcome(write(t.Folder)),
		Connect: outcome(connect(t.Address)),
		Signal:  outcome(signal(t.Host)),
		Start:   outcome(start()),
		Listen:  outcome(listen(t.Socket)),
	}
}

func outcome(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

func write(folder string) error {
	f, err := os.CreateTemp(folder, "trial-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func connect(address string) error {
	c, err := net.DialTimeout("tcp", address, attemptTime)
	if err != nil {
		return err
	}
	return c.Close()
}

// start starts this program once more, on Windows one that everybody may read. What matters is that it began, not how it ended.
func start() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		exe = filepath.Join(os.Getenv("SYSTEMROOT"), "System32", "where.exe")
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), Variable+"={}")
	if err := cmd.Start(); err != nil {
		return err
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil
}

// listen does what go-plugin does, which makes pipes, and finds a free name for its socket by making a file.
func listen(socket string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		return err
	}
	network, address := "unix", socket
	if runtime.GOOS == "windows" {
		network, address = "tcp", "127.0.0.1:0"
	} else if err := write(filepath.Dir(socket)); err != nil {
		return err
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return l.Close()
}

// Stage is what the host lays out for one trial.
type Stage struct {
	task   Task
	dir    string
	server net.Listener
	out    bytes.Buffer
}

// Open lays out a stage.
func Open() (_ *Stage, err error) {
	s := &Stage{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	// Without links, as walls are drawn.
	if s.dir, err = os.MkdirTemp("", "parhost-trial-"); err != nil {
		return nil, err
	}
	if s.dir, err = filepath.EvalSymlinks(s.dir); err != nil {
		return nil, err
	}
	for _, name := range []string{s.Sockets(), filepath.Join(s.dir, "folder")} {
		if err = os.Mkdir(name, 0o700); err != nil {
			return nil, err
		}
	}
	secret := filepath.Join(s.dir, "secret")
	if err = os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		return nil, err
	}
	if s.server, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.task = Task{
		Secret: secret, Folder: filepath.Join(s.dir, "folder"), Address: s.server.Addr().String(),
		Socket: filepath.Join(s.Sockets(), "plugin"), Host: os.Getpid(),
	}
	return s, nil
}

// Sockets is the folder in which the process may make its socket.
func (s *Stage) Sockets() string { return filepath.Join(s.dir, "s") }

// Command is that of the process, as yet without walls. Nothing of the host's environment is in it but what the system's own
// libraries ask for.
func (s *Stage) Command() (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	task, err := json.Marshal(s.task)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{Variable + "=" + string(task)}
	for _, key := range []string{"SYSTEMROOT", "TEMP", "TMP"} { // Windows
		if value, ok := os.LookupEnv(key); ok {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	cmd.Stdout = &s.out
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// Outcome reads what the process said, which has ended.
func (s *Stage) Outcome() (o Outcome, err error) {
	d := json.NewDecoder(&s.out)
	d.DisallowUnknownFields()
	if err := d.Decode(&o); errors.Is(err, io.EOF) {
		return o, errors.New("the process ended without a word")
	} else if err != nil {
		return o, err
	}
	return o, nil
}

// Wait waits for the process, and kills it when the context ends.
func Wait(ctx context.Context, cmd *exec.Cmd) error {
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Close removes the stage.
func (s *Stage) Close() {
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
