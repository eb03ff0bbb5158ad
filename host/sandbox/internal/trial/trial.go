// Package trial tests walls from inside: a process starts at a level of the sandbox, attempts what the level forbids, and reports the outcome.
//
// The process is the host's own program, started once more. A program that links this package makes the trial, before its main, if [Variable] is set.
// Linux does not use this package, because its launcher makes a trial of its own.
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

// Variable is the environment variable with the [Task] of a process that makes a trial.
const Variable = "PARHOST_SANDBOX_TRIAL"

// Task says what a trial attempts.
type Task struct {
	Secret  string // a file that only the host's user may read
	Folder  string // a folder of the host in which the process must not create files
	Address string // of a TCP server of the host
	Socket  string // path at which a plugin listens; unused on Windows
	Host    int    // pid of the host
}

// Outcome says for each attempt why it failed. A field is empty if the attempt succeeded.
type Outcome struct {
	Read    string // reading the secret
	Write   string // creating a file in the folder
	Connect string // connecting to the host's server
	Signal  string // signalling the host: whether the process could kill it
	Start   string // starting a process
	Listen  string // listening where a plugin must listen; this must succeed
}

// Judge returns an error if a wall did not hold, or if something failed that must be possible. network and fork say whether the network and starting
// processes are allowed.
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
	if t == (Task{}) { // function start has started this process and only checks that it began
		os.Exit(0)
	}
	if err := json.NewEncoder(os.Stdout).Encode(t.attempt()); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// attemptTime is longer than a successful attempt takes.
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

// start starts this program once more, or on Windows a program that every user may read. Only the start matters, not how the process ends.
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

// listen does what go-plugin does: it makes pipes, and creates a file to find a free name for the socket.
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

// Stage holds the files and the server of one trial.
type Stage struct {
	task   Task
	dir    string
	server net.Listener
	out    bytes.Buffer
}

// Open prepares a stage.
func Open() (_ *Stage, err error) {
	s := &Stage{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	// The path is resolved, because profiles use paths without links.
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

// Sockets returns the folder in which the process may create its socket.
func (s *Stage) Sockets() string { return filepath.Join(s.dir, "s") }

// Command returns the command of the trial's process, without walls. Its environment has only those variables of the host that Windows libraries
// need.
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

// Outcome reads the process's report. The process must have ended.
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

// Wait waits for the process to end. It kills the process when ctx ends, and then returns the cause.
func Wait(ctx context.Context, cmd *exec.Cmd) error {
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Close removes the stage's folder and stops its server.
func (s *Stage) Close() {
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
