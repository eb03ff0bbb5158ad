package host_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/parhost/parhost/host"
)

// Results that wait for a slow item before them are kept. Their large items are not.
func TestALargeItemIsLetGoWhenItsResultHasCome(t *testing.T) {
	file := filepath.Join(t.TempDir(), "held")
	came := make(chan struct{})
	p := open(t, host.Config{Workload: chaos, Batch: 1, Observer: observerFunc(func(e host.Event) {
		if done, ok := e.(host.BatchDone); ok && done.First == 1 {
			close(came)
		}
	})})
	var large weak.Pointer[byte]
	items := func(yield func(json.RawMessage) bool) {
		first, err := json.Marshal(order{Do: "await", S: file})
		if err != nil || !yield(first) {
			return
		}
		item := json.RawMessage(`{"do":"echo","s":"` + strings.Repeat("x", 4<<20) + `"}`)
		large = weak.Make(&item[0])
		yield(item)
	}
	ended := make(chan error)
	go func() {
		var failed error
		for r, err := range typed[json.RawMessage, string](p).Stream(t.Context(), items) {
			if err == nil && r.Err != nil {
				err = r.Err
			}
			if err != nil {
				failed = err
			}
		}
		ended <- failed
	}()
	select {
	case <-came:
	case <-time.After(time.Minute):
		t.Fatal("the second item has no result after a minute")
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.GC(); large.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Error("the item is still held, and its result has come")
			break
		}
	}
	for os.Remove(file) != nil { // which ends the first item, once it has begun
		runtime.Gosched()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
