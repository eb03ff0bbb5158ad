// Command hostile is a plugin that attempts what no plugin must be able to do on macOS.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

func show(name string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = err.Error()
	}
	fmt.Printf("%s\t%s\n", name, outcome)
}

func dial(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

func listen(network, address string) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return l.Close()
}

// attempts tries to reach things of the host. The environment says where they are.
func attempts() {
	signal.Ignore(unix.SIGXFSZ) // so that the write returns an error
	folder, sockets := os.Getenv("HOSTILE_FOLDER"), os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	host, _ := strconv.Atoi(os.Getenv("HOSTILE_PID"))
	secret := filepath.Join(folder, "secret")
	_, err := os.ReadFile(secret)
	show("read a file of the host", err)
	_, err = os.ReadDir(folder)
	show("list a folder of the host", err)
	_, err = os.ReadFile("/etc/passwd")
	show("read /etc/passwd", err)
	show("write a file of the host", os.WriteFile(filepath.Join(folder, "new"), nil, 0o600))
	show("change the mode of a file of the host", os.Chmod(secret, 0o640))
	show("rename a file of the host", os.Rename(filepath.Join(folder, "spare"), filepath.Join(folder, "moved")))
	show("link to a file of the host", os.Link(secret, filepath.Join(sockets, "hard")))
	show("a link in the folder of the socket", os.Symlink(filepath.Join(folder, "open"), filepath.Join(sockets, "link")))
	show("a folder in the folder of the socket", os.Mkdir(filepath.Join(sockets, "folder"), 0o700))
	show("fill the folder of the socket", os.WriteFile(filepath.Join(sockets, "file"), []byte("x"), 0o600))
	show("connect to tcp of the host", dial("tcp", os.Getenv("HOSTILE_TCP")))
	show("udp", dial("udp", "127.0.0.1:53"))
	show("listen on tcp", listen("tcp", "127.0.0.1:0"))
	show("connect to a socket of the host", dial("unix", filepath.Join(folder, "open")))
	show("signal the host", unix.Kill(host, 0))
	_, err = unix.SysctlRaw("kern.procargs2", host)
	show("read the host's environment", err)
	_, err = unix.SysctlKinfoProcSlice("kern.proc.all")
	show("list processes", err)
	p, err := os.StartProcess("/usr/bin/true", []string{"true"}, &os.ProcAttr{})
	if err == nil {
		_, err = p.Wait()
	}
	show("start a program", err)
}

// serve listens as go-plugin does and sends one byte to each client.
func serve() error {
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin1")
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	fmt.Println(path)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("!"))
		_ = c.Close()
	}
}

func main() {
	switch os.Args[1] {
	case "attempts":
		attempts()
	case "serve":
		fmt.Fprintln(os.Stderr, serve())
		os.Exit(1)
	case "fill":
		if err := os.WriteFile(os.Args[2], make([]byte, 1<<20), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
