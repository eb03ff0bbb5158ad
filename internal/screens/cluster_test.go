package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/parhost/parhost/host/dashboard"
)

// The page of a server with users: its node, the jobs of all tenants, and what the node does not run, on a screen of 390 pixels too.
func TestAClustersPage(t *testing.T) {
	p := built(t)
	dir := t.TempDir()
	list, node := filepath.Join(dir, "users.json"), filepath.Join(dir, "node.key")
	key := func(tenant string) string { return filepath.Join(dir, tenant+".key") }
	for _, args := range [][]string{{"submitter", key("a"), "--tenant", "a"}, {"submitter", key("b"), "--tenant", "b"}, {"node", node}} {
		out, err := exec.CommandContext(t.Context(), p.parhost, slices.Concat([]string{"keys", "--users", list}, args)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	begin := func(word string, args ...string) *run {
		t.Helper()
		ctx, stop := context.WithCancel(context.Background())
		r, err := p.until(ctx, word, args...)
		must(t, err)
		t.Cleanup(func() {
			stop()
			_ = r.wait()
		})
		return r
	}
	s := begin("on each machine: parhost worker --cluster ", "serve", "--listen", "127.0.0.1:0", "--store", dir, "--users", list, "--ui", "127.0.0.1:0")
	_, address, _ := strings.Cut(s.before, "the cluster's page: ")
	b := page(t, strings.TrimSpace(strings.Split(address, "\n")[0]))
	must(t, b.until("document.getElementById('waiting').textContent === 'No node is there.'"))
	if hash, err := chromedp.Run(b.page(), chromedp.Evaluate[string]("location.href")); err != nil || strings.Contains(hash, "#") {
		t.Errorf("the address is %q, %v: the token must not stay there", hash, err)
	}
	begin("this node takes ", "worker", "--cluster", s.URL, "--key", node, "--name", "one", "--procs", "2")
	row := func(table, text string) string {
		return "[...document.querySelectorAll('#" + table + " tbody tr')].some((r) => r.innerText.replace(/\\s+/g, ' ').includes('" + text + "'))"
	}
	must(t, b.until(row("nodes", "one default 2 0 0 ")))
	job := func(tenant, id string, args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), p.parhost, append([]string{"--cluster", s.URL, "--tenant", tenant, "--key", key(tenant), "--job-id", id, "--output", "none"}, args...)...)
	}
	if out, err := job("a", "roots", "--plugin", "sqrt", "--range", "0:100").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, b.until(row("jobs", "roots a done sqrt default 100 0 ")))
	if out, err := job("b", "strange", "--plugin", p.unruly, `{"n":1}`).CombinedOutput(); err == nil {
		t.Fatalf("a plugin that the node does not allow has run: %s", out)
	}
	must(t, b.until(row("unfit", "one b/strange refused ")))
	nap := job("b", "naps", "--plugin", "sleep", "--repeat", "1000", "0.05")
	must(t, nap.Start())
	defer func() {
		_ = nap.Process.Kill()
		_ = nap.Wait()
	}()
	must(t, b.until(row("jobs", "naps b running sleep default ")))
	must(t, b.until(row("queues", "default")+" && document.getElementById('counts').textContent.includes('2 of 2 slots busy')"))
	must(t, b.until("document.querySelector('#jobs tbody tr').cells[7].textContent > '0'"))
	must(t, b.until(row("servers", "healthy nats://127.0.0.1:")))
	for _, dark := range []bool{false, true} {
		must(t, b.look(dark, 390, 844))
		must(t, b.until("document.documentElement.scrollWidth <= 390"))
		if folder := os.Getenv("PARHOST_TEST_PICTURES"); folder != "" {
			picture, err := chromedp.Run(b.page(), chromedp.CaptureScreenshot())
			must(t, err)
			must(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("cluster-%t.png", dark)), picture, 0o644))
			must(t, b.look(dark, 1280, 900))
			picture, err = chromedp.Run(b.page(), chromedp.CaptureScreenshot())
			must(t, err)
			must(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("cluster-wide-%t.png", dark)), picture, 0o644))
		}
	}
}

// What nodes and submitters say cannot become a part of the page of a cluster.
func TestMarkupOfAClusterStaysText(t *testing.T) {
	s, err := dashboard.OpenCluster(t.Context(), dashboard.Config{Address: "127.0.0.1:0"}, hostileCluster)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	b := page(t, s.URL())
	for _, id := range []string{"servers", "nodes", "unfit", "jobs", "queues", "waiting"} {
		must(t, b.until("document.getElementById('"+id+"').textContent.includes('<b id=evil>')"))
	}
	must(t, b.until("document.getElementById('evil') === null && document.querySelectorAll('img').length === 0"))
	time.Sleep(100 * time.Millisecond) // for a complaint of the console
}
