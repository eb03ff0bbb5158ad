package dossier_test

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
	"github.com/parhost/parhost/host/joblog"
)

func Example() {
	dir, err := os.MkdirTemp("", "failures")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, err := dossier.Open(dir, "example", joblog.Origin{Plugin: "./parhost-plugin-mean"}, host.Config{})
	if err != nil {
		panic(err)
	}
	defer files.Close()
	item := json.RawMessage(`{"numbers":[]}`)
	failed := host.Result[json.RawMessage]{Index: 7, Attempts: 1, Err: &host.ItemError{Index: 7, Kind: host.KindFailed, Message: "no numbers"}}
	if err := files.Write(item, &failed); err != nil {
		panic(err)
	}
	d, err := dossier.Read(files.Path(7, item))
	if err != nil {
		panic(err)
	}
	fmt.Printf("item %d, %s, failed: %s\n", d.Index, d.Item, d.Message)
	// Output: item 7, {"numbers":[]}, failed: no numbers
}
