// Command wine runs this module's tests for Windows under Wine. Its arguments are those of go test.
//
// Wine is not Windows, but most failures there have had causes in this module: structures, handles, paths, the ends of processes. The program adds
// what Go needs and Debian's Wine 8 lacks: a DLL, and one more error code after which Go deletes a file the old way.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wine:", err)
		if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
			os.Exit(e.ExitCode())
		}
		os.Exit(1)
	}
}

func run(args []string) error {
	wine, err := find("wine64")
	if err != nil {
		return err
	}
	home, err := filepath.Abs(".bin/wine")
	if err != nil {
		return err
	}
	prefix := filepath.Join(home, "prefix")
	env := append(os.Environ(), "WINEPREFIX="+prefix, "WINEARCH=win64", "WINEDEBUG=-all", "DISPLAY=", "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stderr
		return cmd
	}
	system := filepath.Join(prefix, "drive_c", "windows", "system32")
	if _, err := os.Stat(filepath.Join(system, "kernel32.dll")); err != nil {
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		boot := command(wine, "wineboot", "--init")
		var said bytes.Buffer
		boot.Stdout, boot.Stderr = &said, &said
		if err := boot.Run(); err != nil {
			return fmt.Errorf("make %s: %w\n%s", prefix, err, said.String())
		}
	}
	if server, err := find("wineserver"); err == nil {
		defer func() { _ = command(server, "--kill").Run() }() // ends processes that tests have left behind, and Wine's services
	}
	prng := filepath.Join(system, "bcryptprimitives.dll")
	if _, err := os.Stat(prng); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(prng, forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o755); err != nil {
			return err
		}
	}
	overlay, err := patch(home)
	if err != nil {
		return err
	}
	end, err := keep(command(wine, "cmd", "/c", "pause"))
	if err != nil {
		return err
	}
	defer end()
	return command("go", append([]string{"test", "-overlay", overlay, "-exec", wine}, args...)...).Run()
}

// keep starts a program that waits for a key until it is ended. With its first program Wine starts services, which hold that program's stdout open
// as long as they run. If the first program were a test, go test would wait for the services.
func keep(cmd *exec.Cmd) (end func(), err error) {
	cmd.Stdout, cmd.Stderr = nil, nil
	key, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = key.Close()
		_ = cmd.Wait()
	}, nil
}

// find finds one of Wine's programs. Debian installs them outside of PATH.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if path, err2 := exec.LookPath(filepath.Join("/usr/lib/wine", name)); err2 == nil {
		return path, nil
	}
	return "", fmt.Errorf("%w; Debian has it in the package wine64", err)
}

// The error codes after which Go deletes a file the old way, and the same list with STATUS_NOT_IMPLEMENTED, which Wine 8 returns.
const (
	prepared   = "case STATUS_INVALID_INFO_CLASS, "
	unprepared = prepared + "NTStatus(0xC0000002), "
)

// patch writes an overlay for the go command. With it, Go also deletes a file the old way after STATUS_NOT_IMPLEMENTED.
func patch(home string) (path string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "internal", "syscall", "windows", "at_windows.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), prepared) != 1 {
		return "", fmt.Errorf("%s is not as this program knows it", source)
	}
	patched := filepath.Join(home, "at_windows.go")
	if err := os.WriteFile(patched, []byte(strings.Replace(string(text), prepared, unprepared, 1)), 0o644); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: patched}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(home, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o644)
}
