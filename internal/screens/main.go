// Command screens takes the pictures of the dashboard that the documentation shows: light, dark, and on a screen of 400 pixels. Its tests use the page in a
// real browser.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: screens FOLDER")
		os.Exit(2)
	}
	if err := take(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
}

// shots are the pictures.
var shots = []struct {
	name          string
	dark          bool
	width, height int64
}{
	{"page-light.png", false, 1280, 1100}, {"page-dark.png", true, 1280, 1100}, {"page-narrow.png", false, 400, 1600},
}

// take takes the pictures of a run that goes on meanwhile.
func take(ctx context.Context, folder string) error {
	path := findBrowser()
	if path == "" {
		return fmt.Errorf("there is no chromium")
	}
	dir, err := os.MkdirTemp("", "screens-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs, err := build(ctx, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	r, err := programs.start(ctx, "--procs", "4", "--memory", "200MiB", "--on-error", "continue")
	if err != nil {
		return err
	}
	defer func() { _ = r.wait() }()
	defer func() { _ = r.Close() }()
	go func() { // a picture shows an ordinary run, so items come at a moderate rate
		for n := 0; ; n += 10 {
			if r.items(n, n+10) != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	b, err := openBrowser(ctx, path)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.do(chromedp.Navigate(r.URL), chromedp.Sleep(8*time.Second)); err != nil {
		return err
	}
	for _, s := range shots {
		if err := b.look(s.dark, s.width, s.height); err != nil {
			return err
		}
		picture, err := chromedp.Run(b.page(), chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, s.name), picture, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// look gives the page a size and a colour scheme, and lets it follow.
func (b *browser) look(dark bool, width, height int64) error {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
	if _, err := chromedp.Call(b.page(), emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features}); err != nil {
		return err
	}
	return b.do(chromedp.EmulateViewport(width, height), chromedp.Sleep(1500*time.Millisecond))
}
