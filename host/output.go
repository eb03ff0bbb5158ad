package host

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/internal/wire"
)

const (
	tailLines = 40      // of a process's output are kept for its obituary
	tailWidth = 1 << 10 // bytes of each
)

// output reads what a process writes on stdout and stderr: it keeps the last lines and passes all on to the logger.
type output struct {
	logger hclog.Logger
	done   sync.WaitGroup // readers

	mu   sync.Mutex
	tail []string
}

// read takes lines until r ends.
func (o *output) read(r *bufio.Reader) {
	for {
		line, err := readLine(r)
		if line != "" {
			o.add(line)
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line, cut to tailWidth, whatever its length.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	text := strings.TrimRight(string(line[:min(len(line), tailWidth)]), "\r\n")
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return text, err
}

func (o *output) add(line string) {
	text := line
	var entry map[string]any
	if strings.HasPrefix(line, `{"@`) && json.Unmarshal([]byte(line), &entry) == nil {
		text, _ = entry["@message"].(string)
		o.log(entry)
	} else {
		o.logger.Info(line)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == tailLines {
		copy(o.tail, o.tail[1:])
		o.tail = o.tail[:tailLines-1]
	}
	o.tail = append(o.tail, wire.Bound(text, tailWidth))
}

// log passes on a line that the workload's own hclog wrote.
func (o *output) log(entry map[string]any) {
	level, _ := entry["@level"].(string)
	message, _ := entry["@message"].(string)
	var pairs []any
	for key, value := range entry {
		if !strings.HasPrefix(key, "@") && key != "worker" { // the host's logger has said which worker it is
			pairs = append(pairs, key, value)
		}
	}
	o.logger.Log(max(hclog.Trace, hclog.LevelFromString(level)), message, pairs...)
}

// lines returns the last lines, once the readers are done or a moment has passed: a grandchild may hold the pipe open.
func (o *output) lines(patience time.Duration) []string {
	read := make(chan struct{})
	go func() {
		o.done.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(patience):
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.tail...)
}

// handshakeReader returns the first line of r for go-plugin to read, and nothing more: what comes later is output like any
// other. first gets the line as well.
func (o *output) handshakeReader(r io.Reader, first chan<- string) io.ReadCloser {
	pr, pw := io.Pipe()
	o.done.Go(func() {
		b := bufio.NewReader(r)
		line, err := readLine(b)
		first <- line
		_, _ = io.WriteString(pw, line+"\n")
		_ = pw.Close()
		if err == nil {
			o.read(b)
		}
	})
	return pr
}
