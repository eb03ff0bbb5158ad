package dashboard

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/parhost/parhost/host/history"
)

const (
	// maxConnections bounds the files that pages take from the run, which needs files for its workers.
	maxConnections = 128
	// every is how often a page is told what is new.
	every = 500 * time.Millisecond
	// patience is how long a browser may take to read what it is sent.
	patience = 10 * time.Second
	// maxMillis is the latest time of a run that a page may ask for: 34 years.
	maxMillis = 1 << 40
	// maxBins is how many bins a page may ask for.
	maxBins = 2000
)

// Config says what a [Server] serves, and to whom.
type Config struct {
	Address string // host:port to listen at, such as "127.0.0.1:8080"; port 0 takes a free one
	// Public allows an address that other machines can reach, although nothing is encrypted. Without it such an address is an error.
	Public   bool
	Logs     *Logs    // nil shows no log lines
	Controls Controls // what the keys of the page do
	// Steerable reports whether there is a run that the keys act on. Nil means that there is.
	Steerable func() bool
	Beside    map[string]http.Handler // other things to serve at the address, by path, such as "/metrics"
}

// Controls are what the keys of a page do. A page has no key for a nil one.
type Controls struct {
	Pause  func(paused bool) error
	Resize func(by int) error // one worker more or less
	Drain  func() error       // lets running items end and begins no others
	Stack  func(ctx context.Context, worker int) (string, error)
	Cancel func(worker, place int) error // ends an item that a worker runs
}

// PublicError says that an address can be reached from other machines, and Config.Public is not set.
type PublicError struct{ Address string }

func (e *PublicError) Error() string {
	return fmt.Sprintf("%s can be reached from other machines", e.Address)
}

// Server serves a page. All methods may be called from any goroutine.
type Server struct {
	config   Config
	token    string
	listener net.Listener
	http     *http.Server
	closing  chan struct{} // closed when pages are told for the last time
	done     chan struct{} // closed when the server has ended

	mu   sync.Mutex
	runs []*served
}

// served is a run, and what pages were last told of it.
type served struct {
	*Run
	mu   sync.Mutex
	at   time.Time
	text []byte

	looking sync.Mutex // held while the history is read for one page, so that many pages do not hold up the run
	looked  time.Time
}

// look calls f, which reads much of the history, when no other page reads it, and not more often than every pause.
func (s *served) look(f func()) {
	s.looking.Lock()
	defer s.looking.Unlock()
	time.Sleep(pause - time.Since(s.looked))
	f()
	s.looked = time.Now()
}

// pause is the shortest time between two readings of the history. A reading takes a millisecond or two, in which the run's events wait.
const pause = 50 * time.Millisecond

// Open listens at the address and serves the page until [Server.Close]. If other machines can reach the address and Config.Public is not set, the error is a
// [*PublicError]. If the address cannot be used, the error is that of [net.Listen].
func Open(ctx context.Context, cfg Config) (*Server, error) {
	return open(ctx, cfg, (*Server).routes)
}

func open(ctx context.Context, cfg Config, routes func(*Server) *http.ServeMux) (*Server, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	if address, ok := l.Addr().(*net.TCPAddr); !cfg.Public && ok && !address.IP.IsLoopback() {
		return nil, errors.Join(&PublicError{cfg.Address}, l.Close())
	}
	s := &Server{config: cfg, token: rand.Text(), listener: l, closing: make(chan struct{}), done: make(chan struct{})}
	s.http = &http.Server{Handler: s.guard(routes(s)), ReadTimeout: patience, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(netutil.LimitListener(l, maxConnections)) // it ends with Close
	}()
	return s, nil
}

// URL returns the page's address. The fragment has the token, without which the page shows nothing; browsers send fragments nowhere.
func (s *Server) URL() string {
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		if machine, err := os.Hostname(); err == nil {
			host = machine
		}
	}
	return fmt.Sprintf("http://%s/#%s", net.JoinHostPort(host, port), s.token)
}

// Add makes a run the last one that the page shows.
func (s *Server) Add(r *Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, &served{Run: r})
}

// lastWords is how long Close waits for browsers to take what they are told last.
const lastWords = time.Second

// Close tells pages what is new for the last time, and ends the server and all its connections. It must be called once.
func (s *Server) Close() error {
	close(s.closing)
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil { // a browser did not take them
		err = s.http.Close()
	}
	<-s.done
	return err
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, file := range files {
		mux.Handle("GET "+file.path, file)
	}
	mux.HandleFunc("GET /events", s.withToken(s.events))
	mux.HandleFunc("GET /timeline", s.withToken(s.timeline))
	mux.HandleFunc("GET /failed", s.withToken(s.failed))
	mux.HandleFunc("GET /logs", s.withToken(func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, s.config.Logs.Since(int(number(r, "since", 0, math.MaxInt))))
	}))
	mux.HandleFunc("POST /keys/{key}", s.withToken(s.press))
	s.beside(mux)
	return mux
}

// beside adds what is served beside the page.
func (s *Server) beside(mux *http.ServeMux) {
	for path, handler := range s.config.Beside {
		mux.Handle("GET "+path, handler)
	}
}

// run returns the run that a request asks for: the last one if it does not say. It returns nil if there is none.
func (s *Server) run(r *http.Request) *served {
	run, _ := s.watched(r)
	return run
}

// number returns a parameter of a request's address that is a whole number from 0 to most. No form is read: a body may be endless.
func number(r *http.Request, name string, otherwise, most int64) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < 0 {
		return otherwise
	}
	return min(n, most)
}

func (s *Server) failed(w http.ResponseWriter, r *http.Request) {
	failed := []history.Span{}
	if run := s.run(r); run != nil {
		run.look(func() { failed = failedOf(run.Run) })
	}
	answer(w, r, failed)
}

func (s *Server) timeline(w http.ResponseWriter, r *http.Request) {
	run := s.run(r)
	if run == nil {
		answer(w, r, timeline{Lanes: []lane{}})
		return
	}
	from := time.Duration(number(r, "from", 0, maxMillis)) * time.Millisecond
	to := time.Duration(number(r, "to", maxMillis, maxMillis)) * time.Millisecond
	var view timeline
	run.look(func() { view = timelineOf(run.Store, from, to, max(1, int(number(r, "bins", 300, maxBins)))) })
	answer(w, r, view)
}

// told is what a page is told again and again.
type told struct {
	Runs  []string `json:"runs"` // labels
	Run   int      `json:"run"`
	View  view     `json:"view"`
	Lines int      `json:"lines"` // of the log so far
	Keys  []string `json:"keys"`  // that do something
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// tell returns what a page is told of a run. Pages that ask at about the same time get the same text, unless it has to be fresh.
func (s *Server) tell(run *served, index int, fresh bool) []byte {
	s.mu.Lock()
	labels := make([]string, len(s.runs))
	for i, r := range s.runs {
		labels[i] = r.Label
	}
	s.mu.Unlock()
	run.mu.Lock()
	defer run.mu.Unlock()
	if !fresh && time.Since(run.at) < every/2 {
		return run.text
	}
	keys := []string{}
	if s.config.Steerable == nil || s.config.Steerable() {
		keys = s.config.Controls.keys()
	}
	text, err := json.Marshal(told{Runs: labels, Run: index, View: run.view(), Lines: s.config.Logs.Count(), Keys: keys})
	if err == nil {
		run.text, run.at = text, time.Now()
	}
	return run.text
}

// events sends a page what is new of a run.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	s.stream(w, r, every, func(ending bool) []byte {
		if run, index := s.watched(r); run != nil {
			return s.tell(run, index, ending)
		}
		return []byte("{}")
	})
}

// stream sends a page what tell returns, again and again, as server-sent events, until the browser goes away. ending says that it is for the last time.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, pause time.Duration, tell func(ending bool) []byte) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the request is read
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		ending := isClosed(s.closing)
		line := tell(ending)
		_ = out.SetWriteDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprintf(w, "data: %s\n\n", line); err != nil {
			return
		}
		if out.Flush() != nil || ending {
			return
		}
		select {
		case <-ticker.C:
		case <-s.closing:
		case <-r.Context().Done():
			return
		}
	}
}

// watched returns the run that a request asks for, and its index.
func (s *Server) watched(r *http.Request) (*served, int) {
	asked := number(r, "run", math.MaxInt64, math.MaxInt64)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.runs) == 0 {
		return nil, 0
	}
	i := int(min(asked, int64(len(s.runs)-1)))
	return s.runs[i], i
}
