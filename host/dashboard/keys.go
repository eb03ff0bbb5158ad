package dashboard

import (
	"context"
	"math"
	"net/http"
	"strings"
	"time"
)

// keys returns the names of the controls that there are.
func (c *Controls) keys() []string {
	keys := []string{}
	for _, key := range []struct {
		name  string
		there bool
	}{{"pause", c.Pause != nil}, {"resize", c.Resize != nil}, {"drain", c.Drain != nil}, {"stack", c.Stack != nil}, {"cancel", c.Cancel != nil}} {
		if key.there {
			keys = append(keys, key.name)
		}
	}
	return keys
}

// stackPatience is how long a worker may take to say what it does.
const stackPatience = 5 * time.Second

// press does what a key of the page says.
func (s *Server) press(w http.ResponseWriter, r *http.Request) {
	c := &s.config.Controls
	var text string
	var err error
	switch key := r.PathValue("key"); {
	case (key == "pause" || key == "resume") && c.Pause != nil:
		err = c.Pause(key == "pause")
	case key == "more" && c.Resize != nil:
		err = c.Resize(1)
	case key == "less" && c.Resize != nil:
		err = c.Resize(-1)
	case key == "drain" && c.Drain != nil:
		err = c.Drain()
	case key == "stack" && c.Stack != nil:
		ctx, cancel := context.WithTimeout(r.Context(), stackPatience)
		defer cancel()
		text, err = c.Stack(ctx, int(number(r, "worker", 0, math.MaxInt32)))
	case key == "cancel" && c.Cancel != nil:
		err = c.Cancel(int(number(r, "worker", 0, math.MaxInt32)), int(number(r, "item", 0, math.MaxInt)))
	default:
		http.Error(w, "there is no such key", http.StatusNotFound)
		return
	}
	if err != nil {
		http.Error(w, strings.ToValidUTF8(err.Error(), "?"), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the browser may be gone
}
