package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// evil is a text with markup and with a control sequence of terminals. It is not valid UTF-8.
const evil = "<script>alert(1)</script>\x1b[31m\xff\u202e"

// store returns a store of a run with many workers, each of which has run, failed and died.
func store(workers, rounds int) *history.Store {
	s := history.New()
	for w := range workers {
		s.Observe(host.WorkerStarted{At: s.Begun(), Worker: w + 1, PID: 100 + w, Threads: 1})
	}
	for round := range rounds {
		at := s.Begun().Add(time.Duration(round+1) * 100 * time.Millisecond)
		for w := range workers {
			place := round*workers + w
			if round%50 == 49 {
				s.Observe(host.ItemFailed{At: at, Attempt: host.Attempt{
					Place: place, Worker: w + 1, Item: `"` + evil + `"`, Took: time.Millisecond, Blamed: true,
					Err: &host.ItemError{Kind: host.KindCrashed, Message: evil, Attempts: 1, Cause: host.CauseExit},
				}})
				s.Observe(host.WorkerEnded{At: at, Worker: w + 1, PID: 100 + w, Reason: evil, Cause: host.CauseExit})
				continue
			}
			s.Observe(host.BatchDone{At: at, Worker: w + 1, PID: 100 + w, First: place, Items: 1, Trip: 90 * time.Millisecond, Run: 80 * time.Millisecond, LongestItem: evil})
		}
		s.Observe(host.Sampled{At: at, State: host.State{Looked: at, Waiting: host.Waiting{For: host.WaitInput}, Workers: []host.WorkerInfo{{Worker: 1, PID: 100, Mode: host.ModeProcess, RSS: 50 << 20}}}})
	}
	return s
}

func serve(t *testing.T, cfg dashboard.Config) *dashboard.Server {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	s, err := dashboard.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends a request and returns the answer's status and text.
func ask(t *testing.T, s *dashboard.Server, method, path string, headers ...string) (int, string) {
	t.Helper()
	page, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+page.Host+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// Other web sites must not read the page or press its keys through a user's browser, and programs without the token must not press them.
func TestOnlyThePageItselfIsServed(t *testing.T) {
	pressed := 0
	s := serve(t, dashboard.Config{Controls: dashboard.Controls{Pause: func(bool) error { pressed++; return nil }, Drain: func() error { return errors.New("no: " + evil) }}})
	s.Add(&dashboard.Run{Store: store(1, 10), Label: "process", Title: "x"})
	page, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	bearer := "Bearer " + page.Fragment
	for _, c := range []struct {
		name, method, path string
		headers            []string
		want               int
	}{
		{"the page", "GET", "/", nil, 200},
		{"its data", "GET", "/timeline", []string{"Authorization", bearer}, 200},
		{"its data, as a stream asks for it", "GET", "/failed?token=" + page.Fragment, nil, 200},
		{"its data without the token", "GET", "/timeline", nil, 401},
		{"its events without the token", "GET", "/events", nil, 401},
		{"its log with another token", "GET", "/logs?token=1", nil, 401},
		{"a link of another site to the page", "GET", "/", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"localhost", "GET", "/", []string{"Host", "localhost:1"}, 200},
		{"a name of another site", "GET", "/timeline", []string{"Host", "evil.example"}, 403},
		{"a number that is not loopback", "GET", "/timeline", []string{"Host", "192.0.2.1:80"}, 403},
		{"no name", "GET", "/", []string{"Host", "@"}, 403},
		{"a script of another site", "GET", "/timeline", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another origin", "GET", "/timeline", []string{"Origin", "http://evil.example"}, 403},
		{"no origin at all", "GET", "/timeline", []string{"Origin", "null"}, 403},
		{"a key without the token", "POST", "/keys/pause", nil, 401},
		{"a key with another token", "POST", "/keys/pause", []string{"Authorization", "Bearer 1"}, 401},
		{"a key of another origin", "POST", "/keys/pause", []string{"Authorization", bearer, "Origin", "http://evil.example"}, 403},
		{"a key by a link", "GET", "/keys/pause", []string{"Authorization", bearer}, 405},
		{"a key with the token in its address", "POST", "/keys/pause?token=" + page.Fragment, nil, 401},
		{"a key that is not there", "POST", "/keys/stack", []string{"Authorization", bearer}, 404},
		{"a key that fails", "POST", "/keys/drain", []string{"Authorization", bearer}, 409},
		{"a key", "POST", "/keys/pause", []string{"Authorization", bearer}, 200},
	} {
		if got, text := ask(t, s, c.method, c.path, c.headers...); got != c.want {
			t.Errorf("%s: got %d %s, want %d", c.name, got, text, c.want)
		}
	}
	if pressed != 1 {
		t.Errorf("the key was pressed %d times, want once", pressed)
	}
}

func TestAnAddressThatOthersReachHasToBeAskedFor(t *testing.T) {
	_, err := dashboard.Open(t.Context(), dashboard.Config{Address: "0.0.0.0:0"})
	if _, ok := errors.AsType[*dashboard.PublicError](err); !ok {
		t.Errorf("got %v, want a PublicError", err)
	}
	s := serve(t, dashboard.Config{Address: "0.0.0.0:0", Public: true})
	page, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"192.0.2.1": 200, "evil.example": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+page.Port()+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = name
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("Host %s: got %d, want %d", name, answer.StatusCode, want)
		}
	}
	if _, err := dashboard.Open(t.Context(), dashboard.Config{Address: "127.0.0.1:" + page.Port()}); err == nil {
		t.Error("a port that is taken: got no error")
	}
}

// next returns the next event of a stream.
func next(t *testing.T, lines *bufio.Scanner) (told struct {
	Runs []string
	View struct {
		Ended   bool
		Summary string
		Totals  history.Totals
	}
	Keys []string
},
) {
	t.Helper()
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "data: "); found {
			if err := json.Unmarshal([]byte(text), &told); err != nil {
				t.Fatal(err)
			}
			return told
		}
	}
	t.Fatal("the stream has ended: ", lines.Err())
	return told
}

// watch opens a stream of events.
func watch(t *testing.T, s *dashboard.Server) *bufio.Scanner {
	t.Helper()
	page, token, _ := strings.Cut(s.URL(), "#")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+"events?token="+token, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return lines
}

func TestAPageIsToldOfEachRunAndOfItsEnd(t *testing.T) {
	s, err := dashboard.Open(t.Context(), dashboard.Config{Address: "127.0.0.1:0", Controls: dashboard.Controls{Resize: func(int) error { return nil }}})
	if err != nil {
		t.Fatal(err)
	}
	lines := watch(t, s)
	if told := next(t, lines); len(told.Runs) != 0 {
		t.Errorf("before any run: got %v", told)
	}
	s.Add(&dashboard.Run{Store: store(2, 10), Label: "first"})
	ended := false
	s.Add(&dashboard.Run{Store: store(3, 49), Label: "second", Ended: func() (string, bool) { return "it is over", ended }})
	told := next(t, lines)
	for told.View.Totals.OK != 3*49 {
		told = next(t, lines)
	}
	if len(told.Runs) != 2 || told.View.Ended || len(told.Keys) != 1 {
		t.Errorf("got %+v, want two runs, the second of which goes on, and one key", told)
	}
	ended = true
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for told = next(t, lines); !told.View.Ended; {
		told = next(t, lines)
	}
	if told.View.Summary != "it is over" {
		t.Errorf("got the summary %q", told.View.Summary)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// What a page gets does not grow with the run: a page that is opened gets less than 300 KB, whatever the run is like.
func TestWhatAPageGetsIsBounded(t *testing.T) {
	for _, c := range []struct{ workers, rounds int }{{64, 2000}, {1000, 200}, {1, 5000}} {
		s := serve(t, dashboard.Config{})
		s.Add(&dashboard.Run{Store: store(c.workers, c.rounds), Label: "process", Title: "x"})
		sum := 0
		_, token, _ := strings.Cut(s.URL(), "#")
		for _, path := range []string{"/", "/page.css", "/page.js", "/timeline?bins=2000&token=" + token} {
			_, text := ask(t, s, http.MethodGet, path, "Accept-Encoding", "gzip")
			sum += len(text)
		}
		lines := watch(t, s)
		next(t, lines)
		sum += len(lines.Bytes())
		if sum > 300_000 {
			t.Errorf("%d workers, %d rounds: got %d bytes, want at most 300 KB", c.workers, c.rounds, sum)
		}
	}
}

// Fifty browsers, of which some read nothing, do not hold the server up.
func TestManyBrowsers(t *testing.T) {
	s := serve(t, dashboard.Config{})
	s.Add(&dashboard.Run{Store: store(8, 100), Label: "process"})
	page, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 25 {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", page.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := fmt.Fprintf(c, "GET /events?token=%s HTTP/1.1\r\nHost: %s\r\n\r\n", page.Fragment, page.Host); err != nil {
			t.Fatal(err)
		}
	}
	for range 25 {
		lines := watch(t, s)
		all.Go(func() { next(t, lines) })
	}
	all.Wait()
	if got, _ := ask(t, s, http.MethodGet, "/"); got != http.StatusOK {
		t.Errorf("got %d", got)
	}
	cancel()
}

// A request with a body is refused before it is read, and holds nobody up: one that promises a body and sends none, and one whose body is endless.
func TestABodyHoldsNobodyUp(t *testing.T) {
	s := serve(t, dashboard.Config{})
	s.Add(&dashboard.Run{Store: store(1, 10), Label: "process"})
	page, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", page.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, err = fmt.Fprintf(c, "GET /events?token=%s HTTP/1.1\r\nHost: %s\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n", page.Fragment, page.Host)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, "413") {
			t.Errorf("got %q, %v, want 413", line, err)
		}
	}
	s.Add(&dashboard.Run{Store: store(1, 10), Label: "another"})
	if told := next(t, watch(t, s)); len(told.Runs) != 2 {
		t.Errorf("got the runs %v, want two", told.Runs)
	}
}

// Texts of a plugin end neither the script nor the data of a report, and are shown as text.
func TestAReportHoldsWhatAPluginSaysAsText(t *testing.T) {
	var page strings.Builder
	logs := new(dashboard.Logs)
	logs.Accept("parhost", 4, evil, "worker", 3, "err", errors.New(evil))
	err := dashboard.WriteReport(&page, &dashboard.Report{Runs: []*dashboard.Run{{Store: store(2, 100), Label: evil, Title: evil}}, Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	text := page.String()
	if strings.Contains(text, "<script>alert") || strings.Contains(text, "\x1b") {
		t.Error("the report has what a plugin says as it is")
	}
	_, data, _ := strings.Cut(text, `<script type="application/json" id="data">`)
	data, _, _ = strings.Cut(data, "</script>")
	var report struct {
		Runs []struct {
			View     struct{ Title string }
			Failed   []history.Span
			Timeline struct{ Deaths []history.Life }
		}
		Logs []dashboard.Line
	}
	if err := json.Unmarshal([]byte(data), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Runs) != 1 || len(report.Runs[0].Failed) != 4 || len(report.Runs[0].Timeline.Deaths) != 4 || len(report.Logs) != 1 || report.Logs[0].Worker != 3 {
		t.Errorf("got %+v, want a run with 4 failed items and 4 deaths, and a line about worker 3", report)
	}
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") {
		t.Error("the report refers to something outside of it")
	}
}
