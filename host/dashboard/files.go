package dashboard

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// The page is built from the folder page by make page.
var (
	//go:embed page/page.html
	pageHTML []byte
	//go:embed built/page.css
	pageCSS []byte
	//go:embed built/page.js
	pageJS []byte
	//go:embed page/cluster.html
	clusterHTML []byte
	//go:embed built/cluster.js
	clusterJS []byte
)

// file is a part of the page.
type file struct {
	path    string
	kind    string
	content []byte
	packed  func() []byte
}

var style = newFile("/page.css", "text/css", pageCSS)

// The page of a run, and that of a cluster.
var (
	files        = []*file{newFile("/{$}", "text/html", pageHTML), style, newFile("/page.js", "text/javascript", pageJS)}
	clusterFiles = []*file{newFile("/{$}", "text/html", clusterHTML), style, newFile("/cluster.js", "text/javascript", clusterJS)}
)

func newFile(path, kind string, content []byte) *file {
	return &file{path, kind + "; charset=utf-8", content, sync.OnceValue(func() []byte { return pack(content, gzip.BestCompression) })}
}

func (f *file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.kind)
	content := f.content
	if takesPacked(w, r) {
		content = f.packed()
	}
	_, _ = w.Write(content) // the browser may be gone
}

// answer sends a value as JSON.
func answer(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", "application/json")
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if takesPacked(w, r) {
		text = pack(text, gzip.BestSpeed)
	}
	_, _ = w.Write(text)
}

// takesPacked reports whether the browser accepts gzip. If it does, takesPacked also sets the header that announces gzip in the answer.
func takesPacked(w http.ResponseWriter, r *http.Request) bool {
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		return false
	}
	w.Header().Set("Content-Encoding", "gzip")
	return true
}

func pack(content []byte, level int) []byte {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, level) // both levels are valid
	_, _ = w.Write(content)                     // a buffer takes everything
	_ = w.Close()
	return packed.Bytes()
}
