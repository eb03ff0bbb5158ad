package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/chromedp"
)

// findBrowser returns the path of a chromium, or "" if there is none.
func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// browser is a chromium with one page.
type browser struct {
	page  func() context.Context // of chromedp
	close func()

	mu     sync.Mutex
	errors []string // that the page's console has shown
}

// openBrowser starts a chromium that reaches nothing but this machine.
func openBrowser(ctx context.Context, path string) (*browser, error) {
	ctx, cancel := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, // it shows no page but ours, and root cannot have its sandbox
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("enable-precise-memory-info", true),
	)...)
	page, closePage := chromedp.NewContext(ctx)
	b := &browser{page: func() context.Context { return page }}
	if err := chromedp.Do(page, chromedp.Navigate("about:blank")); err != nil {
		closePage()
		cancel()
		return nil, err
	}
	messages := chromedp.Console(page)
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.IsException() || m.Type == chromedp.ConsoleError {
				b.mu.Lock()
				b.errors = append(b.errors, m.String())
				b.mu.Unlock()
			}
		}
	})
	b.close = func() {
		closePage()
		cancel()
		reading.Wait()
	}
	return b, nil
}

// complaints returns what the console has shown as errors.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.errors)
}

// do does one step after the other.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) error {
	return chromedp.Do(b.page(), steps...)
}

// until waits until an expression of JavaScript is true.
func (b *browser) until(expression string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		ok, err := chromedp.Run(b.page(), chromedp.Evaluate[bool]("!!("+expression+")"))
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", expression, err)
		case ok:
			return nil
		case time.Now().After(deadline):
			text, _ := chromedp.Run(b.page(), chromedp.Evaluate[string]("document.body.innerText"))
			return fmt.Errorf("%s is not true after 30s; the page shows:\n%s", expression, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// collect lets the page collect its garbage.
func (b *browser) collect() error {
	_, err := chromedp.Call(b.page(), heapprofiler.CollectGarbage, cdp.Empty{})
	return err
}

// run is a parhost that runs items which are written to it.
type run struct {
	io.WriteCloser // its stdin
	URL            string
	PID            int
	wait           func() error
	before         string           // what it wrote to stderr before the URL
	said           *strings.Builder // all that it wrote to stderr; valid after wait
}

// programs are parhost and a plugin whose items may fail in every way.
type programs struct{ parhost, unruly string }

// build builds the programs into a folder.
func build(ctx context.Context, dir string) (p programs, err error) {
	p = programs{filepath.Join(dir, "parhost"), filepath.Join(dir, "unruly")}
	for path, pkg := range map[string]string{p.parhost: "github.com/parhost/parhost/cmd/parhost", p.unruly: "github.com/parhost/parhost/examples/unruly"} {
		if out, failed := exec.CommandContext(ctx, "go", "build", "-o", path, pkg).CombinedOutput(); failed != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s", failed, out))
		}
	}
	return p, err
}

// start starts a run of the items that will be written to it.
func (p programs) start(ctx context.Context, args ...string) (*run, error) {
	return p.show(ctx, append([]string{"--plugin", p.unruly, "--input", "-"}, args...)...)
}

// show starts a run with a page, and waits until the page is there.
func (p programs) show(ctx context.Context, args ...string) (*run, error) {
	return p.until(ctx, "the run's page: ", append([]string{"--output", "none", "--progress", "none", "--ui", "127.0.0.1:0"}, args...)...)
}

// until starts a parhost, and waits until it has said a word. What follows the word is the URL.
func (p programs) until(ctx context.Context, word string, args ...string) (*run, error) {
	cmd := exec.CommandContext(ctx, p.parhost, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &run{WriteCloser: in, PID: cmd.Process.Pid, said: new(strings.Builder)}
	lines := bufio.NewScanner(out)
	for r.URL == "" && lines.Scan() {
		fmt.Fprintln(r.said, lines.Text())
		if _, url, found := strings.Cut(lines.Text(), word); found {
			r.URL = url
		}
	}
	r.before = r.said.String()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			fmt.Fprintln(r.said, lines.Text())
		}
	}()
	r.wait = sync.OnceValue(func() error {
		<-read
		return cmd.Wait()
	})
	if r.URL == "" {
		return nil, fmt.Errorf("%w: %s", r.wait(), r.said)
	}
	return r, nil
}

// items writes items, of which some fail: each 40th has an error, each 150th ends its worker.
func (r *run) items(from, to int) error {
	w := bufio.NewWriter(r)
	for n := from; n < to; n++ {
		do := ""
		switch {
		case n%150 == 149:
			do = `,"do":"exit"`
		case n%40 == 39:
			do = `,"do":"fail"`
		}
		_, _ = fmt.Fprintf(w, "{\"n\":%d%s}\n", n, do) // Flush returns the error
	}
	return w.Flush()
}
