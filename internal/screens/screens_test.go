package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/parhost/parhost/host/dashboard"
)

// page is a browser that shows a run.
func page(t *testing.T, url string) *browser {
	t.Helper()
	path := findBrowser()
	if path == "" {
		t.Skip("there is no chromium")
	}
	b, err := openBrowser(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, complaint := range b.complaints() {
			t.Error("the console shows ", complaint)
		}
		b.close()
	})
	if err := b.do(chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return b
}

func built(t *testing.T) programs {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs, and starts a browser")
	}
	if findBrowser() == "" {
		t.Skip("there is no chromium")
	}
	p, err := build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text returns an element's text.
func text(t *testing.T, b *browser, id string) string {
	t.Helper()
	text, err := chromedp.Run(b.page(), chromedp.Evaluate[string]("document.getElementById('"+id+"').textContent"))
	must(t, err)
	return text
}

// The page of a run whose workers crash now and then: what the run waits for, the failures and their filter, the zoom of the task stream, the key that pauses.
func TestTheLivePage(t *testing.T) {
	r, err := built(t).start(t.Context(), "--procs", "2")
	must(t, err)
	must(t, r.items(0, 1000))
	b := page(t, r.URL)
	must(t, b.until("document.getElementById('waiting').textContent === 'waiting for input'"))
	must(t, b.until("document.getElementById('counts').textContent.includes('970 ok · 30 failed')"))
	if hash, err := chromedp.Run(b.page(), chromedp.Evaluate[string]("location.href")); err != nil || strings.Contains(hash, "#") {
		t.Errorf("the address is %q, %v: the token must not stay there", hash, err)
	}
	must(t, b.until("document.querySelectorAll('#failures tbody tr').length === 2"))
	must(t, b.do(chromedp.SendKeys("#failure-filter", "crashed exit")))
	must(t, b.until("document.querySelectorAll('#failures tbody tr').length === 1"))
	if row := text(t, b, "failures"); !strings.Contains(row, "exit code 3") || !strings.Contains(row, `{"n":149,"do":"exit"}`) {
		t.Errorf("the failures: got %q, want the exit code and the item", row)
	}
	must(t, b.do(chromedp.Click("#failed-block summary")))
	must(t, b.until("document.querySelectorAll('#failed tbody tr').length === 6"))
	must(t, b.until("document.querySelectorAll('#deaths li').length === 6"))

	before := text(t, b, "range")
	must(t, b.do(chromedp.Click("#zoom-in")))
	must(t, b.until("document.getElementById('range').textContent !== "+strconv.Quote(before)))
	must(t, b.do(chromedp.Focus("#stream"), chromedp.KeyEvent("0")))
	must(t, b.until("document.getElementById('range').textContent.startsWith('0 to')"))
	must(t, b.do(chromedp.ScrollIntoView("#stream"), chromedp.Func(func(ctx context.Context, tt *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](`(() => { const box = document.getElementById("stream").getBoundingClientRect();
			document.getElementById("stream").dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + 100, clientY: box.top + 10})); return true; })()`)(ctx, tt)
		return err
	})))
	must(t, b.until("!document.getElementById('tip').hidden && document.getElementById('tip').textContent.includes('worker 1')"))

	must(t, b.do(chromedp.Click("h1"), chromedp.KeyEvent("p")))
	must(t, b.until("document.getElementById('waiting').textContent === 'Paused'"))
	must(t, b.do(chromedp.KeyEvent("p")))
	must(t, b.until("document.getElementById('waiting').textContent === 'waiting for input'"))

	must(t, b.until("document.getElementById('logs').textContent.includes('worker died')"))
	must(t, b.do(chromedp.SendKeys("#log-filter", "nothing is like this")))
	must(t, b.until("document.getElementById('logs').textContent === ''"))
	must(t, r.Close())
	must(t, b.until("document.getElementById('waiting').textContent.startsWith('Ended: 1000 items · 970 ok · 30 failed')"))
	if err := r.wait(); err == nil || r.said.String() == "" {
		t.Errorf("the run ended with %v, want exit code 1", err)
	}
}

// While an item hangs, one button of the page shows the stack of its worker, and another cancels the item.
func TestThePageShowsAndCancelsAnItem(t *testing.T) {
	r, err := built(t).start(t.Context(), "--procs", "1")
	must(t, err)
	_, err = r.Write([]byte(`{"n":1,"do":"hang"}` + "\n"))
	must(t, err)
	b := page(t, r.URL)
	must(t, b.until("document.querySelector('#workers button')?.textContent === 'Stack'"))
	must(t, b.do(chromedp.Click("#workers button")))
	must(t, b.until("document.getElementById('stack').textContent.includes('main.square')"))
	must(t, b.until("[...document.querySelectorAll('#workers button')].some((e) => e.textContent === 'End item 0')"))
	must(t, b.do(chromedp.Click("#workers button:nth-of-type(2)")))
	must(t, b.until("document.getElementById('counts').textContent.includes('1 failed')"))
	must(t, b.until("document.getElementById('failures').textContent.includes('canceled')"))
	must(t, r.Close())
	if err := r.wait(); err == nil {
		t.Error("the run ended well, want exit code 1")
	}
}

// Four hundred pixels are enough, and a screen reader finds names for what can be used.
func TestThePageFitsAPhoneAndHasNames(t *testing.T) {
	r, err := built(t).start(t.Context(), "--procs", "2")
	must(t, err)
	defer func() { _ = r.wait() }()
	defer func() { _ = r.Close() }()
	must(t, r.items(0, 400))
	b := page(t, r.URL)
	must(t, b.look(true, 400, 900))
	must(t, b.until("document.querySelectorAll('#failures tbody tr').length === 2"))
	must(t, b.until("document.documentElement.scrollWidth <= 400"))
	must(t, b.until(`[...document.querySelectorAll("button, input, select, canvas, progress, [tabindex]")].every((e) => e.hidden || e.closest("[hidden]") ||
		e.textContent || e.getAttribute("aria-label") || e.labels?.length || e.closest("[role=img]")?.getAttribute("aria-label"))`))
}

// A page that is open for long keeps its memory: here an hour of news comes in a minute or less.
func TestThePageKeepsItsMemory(t *testing.T) {
	r, err := built(t).start(t.Context(), "--procs", "2")
	must(t, err)
	defer func() { _ = r.wait() }()
	defer func() { _ = r.Close() }()
	must(t, r.items(0, 1000))
	b := page(t, "about:blank")
	// This script gives the page a clock and a stream of events that the test controls, so that an hour with 7200 events passes in seconds.
	_, err = chromedp.Call(b.page(), cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: `
		const now = Date.now.bind(Date), Source = EventSource;
		let passed = 0;
		Date.now = () => now() + passed;
		window.EventSource = class extends Source {
			constructor(url) {
				super(url);
				window.source = this;
				this.addEventListener("message", (e) => { window.news = e.data; });
			}
		};
		window.hour = async () => {
			source.close();
			const told = JSON.parse(news);
			for (let i = 0; i < 7200; i++) {
				passed += 500;
				told.view.done++; told.view.now_ms += 500; told.view.totals.ok++;
				for (const w of told.view.workers) { w.item = i; w.items = i; w.for_ms = i; w.rss = 1e7 + i; }
				source.onmessage({data: JSON.stringify(told)});
				if (i % 20 === 0) await new Promise(requestAnimationFrame);
			}
			return true;
		};`})
	must(t, err)
	must(t, b.do(chromedp.Navigate(r.URL)))
	must(t, b.until("document.getElementById('counts').textContent.includes('970 ok')"))
	heap := func() int {
		must(t, b.collect())
		used, err := chromedp.Run(b.page(), chromedp.Evaluate[int]("performance.memory.usedJSHeapSize"))
		must(t, err)
		return used
	}
	run := func() {
		_, err := chromedp.Run(b.page(), chromedp.Evaluate[bool]("hour()", chromedp.EvalAwaitPromise))
		must(t, err)
	}
	run()
	before := heap()
	run()
	if after := heap(); after > before+4<<20 {
		t.Errorf("the page grew from %d to %d KiB in an hour", before>>10, after>>10)
	} else {
		t.Logf("the page has %d KiB after an hour, and %d KiB after two", before>>10, after>>10)
	}
}

// A page that is opened late gets little and shows it soon, however many items and workers the run has.
func TestAPageOfALargeRunIsThereSoon(t *testing.T) {
	p := built(t)
	for name, c := range map[string]struct {
		args []string
		rows int
		done string
	}{
		"five million items": {[]string{"--plugin", "sqrt", "--procs", "2", "--range", "0:5000000"}, 2, "5000000"},
		"64 workers":         {[]string{"--plugin", "sleep", "--procs", "64", "--repeat", "3200", "0.02"}, 64, "3200"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			r, err := p.show(ctx, append(c.args, "--ui-keep")...)
			must(t, err)
			defer func() { _ = r.wait() }()
			defer stop()
			b := page(t, r.URL)
			must(t, b.until("document.getElementById('waiting').textContent.startsWith('Ended: "+c.done+" items')"))
			must(t, b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(r.URL)))
			must(t, b.until("document.getElementById('waiting').textContent.startsWith('Ended:') && document.getElementById('stream').getAttribute('aria-label')?.startsWith('"+strconv.Itoa(c.rows)+" rows')"))
			const entries = `[...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]`
			sent, err := chromedp.Run(b.page(), chromedp.Evaluate[int](entries+".reduce((sum, e) => sum + e.transferSize, 0)"))
			must(t, err)
			took, err := chromedp.Run(b.page(), chromedp.Evaluate[float64](`Math.max(...`+entries+`.filter((e) => !e.name.includes("events")).map((e) => e.responseEnd))`))
			must(t, err)
			t.Logf("the page got %d KB and had its first picture after %.0f ms", sent/1000, took)
			if sent == 0 || sent > 300_000 {
				t.Errorf("the page got %d bytes, want at most 300 KB", sent)
			}
		})
	}
}

// A report needs no network and agrees with the records of its run.
func TestReportsAgreeWithTheRecords(t *testing.T) {
	p := built(t)
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"run.html":      {"--procs", "2", "--output", "jsonl", `{"n":1}`, `{"n":2,"do":"fail"}`, `{"n":3,"do":"exit"}`, `{"n":4}`},
		"contrast.html": {"--procs", "2", "--compare", "--output", "none", `{"n":1}`, `{"n":2}`, `{"n":3}`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			cmd := exec.CommandContext(t.Context(), p.parhost, append([]string{"--plugin", p.unruly, "--report", path}, args...)...)
			records, _ := cmd.Output() // two items of run.html fail
			b := page(t, "file://"+path)
			must(t, b.until("document.getElementById('waiting').textContent.startsWith('Ended: ')"))
			must(t, b.until("document.getElementById('stream').width > 0"))
			ok, failed := 3, 0
			for line := range strings.Lines(string(records)) {
				var record struct{ Error *struct{ Kind string } }
				must(t, json.Unmarshal([]byte(line), &record))
				if record.Error != nil {
					failed++
				}
			}
			if name == "run.html" {
				ok = strings.Count(string(records), "\n") - failed
			} else {
				must(t, b.until("document.querySelectorAll('#modes tbody tr').length === 3"))
				must(t, b.until("document.querySelectorAll('#run option').length === 3"))
			}
			if counts := text(t, b, "counts"); !strings.Contains(counts, strconv.Itoa(ok)+" ok · "+strconv.Itoa(failed)+" failed") {
				t.Errorf("got %q, want %d ok and %d failed", counts, ok, failed)
			}
		})
	}
}

// A page made from the joblog of a run that was killed agrees with the records, too.
func TestAPageOfAKilledRunAgreesWithItsJoblog(t *testing.T) {
	p := built(t)
	dir := t.TempDir()
	journal, path := filepath.Join(dir, "run.joblog"), filepath.Join(dir, "run.html")
	r, err := p.start(t.Context(), "--procs", "2", "--joblog", journal)
	must(t, err)
	must(t, r.items(0, 500))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if content, _ := os.ReadFile(journal); strings.Count(string(content), "\n") > 450 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the joblog has too few records")
		}
	}
	killed, err := os.FindProcess(r.PID)
	must(t, err)
	must(t, killed.Kill())
	_ = r.wait()
	content, err := os.ReadFile(journal)
	must(t, err)
	ok, failed := strings.Count(string(content), `,"value":`), strings.Count(string(content), `,"error":`)
	out, err := exec.CommandContext(t.Context(), p.parhost, "report", journal, "-o", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := page(t, "file://"+path)
	must(t, b.until("document.getElementById('stream').width > 0"))
	if counts := text(t, b, "counts"); ok < 400 || !strings.Contains(counts, strconv.Itoa(ok)+" ok · "+strconv.Itoa(failed)+" failed") {
		t.Errorf("got %q, want %d ok and %d failed", counts, ok, failed)
	}
	must(t, b.until("document.querySelectorAll('#failures tbody tr').length === 2 && document.getElementById('progress').hidden"))
}

// What plugins say cannot become a part of the page.
func TestMarkupOfPluginsStaysText(t *testing.T) {
	built(t)
	logs := new(dashboard.Logs)
	logs.Accept("<img src=x onerror=alert(1)>", 4, "<b id=evil>")
	path := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(path)
	must(t, err)
	must(t, dashboard.WriteReport(f, &dashboard.Report{Logs: logs, Runs: []*dashboard.Run{hostile()}}))
	must(t, f.Close())
	b := page(t, "file://"+path)
	must(t, b.until("document.getElementById('logs').textContent.includes('<b id=evil>')"))
	must(t, b.until("document.getElementById('failures').textContent.includes('<b id=evil>') && document.getElementById('title').textContent.includes('<b id=evil>')"))
	must(t, b.until("document.getElementById('evil') === null && document.querySelectorAll('img').length === 0"))
	time.Sleep(100 * time.Millisecond) // for a complaint of the console
}
