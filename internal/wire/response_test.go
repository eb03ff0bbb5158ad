package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// response returns a message with results, as it travels.
func response(t testing.TB, r *workerpb.Results) []byte {
	t.Helper()
	b, err := proto.Marshal(&workerpb.WorkResponse{Message: &workerpb.WorkResponse_Results{Results: r}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAResponseListsNoMoreThanABatchHas(t *testing.T) {
	const most = 10_000
	errs := func(n int) []*workerpb.ItemError {
		list := make([]*workerpb.ItemError, n)
		for i := range list {
			list[i] = &workerpb.ItemError{}
		}
		return list
	}
	several := func(n int, r *workerpb.Results) []byte { return bytes.Repeat(response(t, r), n) } // protobuf merges the repeated field
	unpacked := func(n int) []byte {
		times := bytes.Repeat(protowire.AppendVarint(protowire.AppendTag(nil, 6, protowire.VarintType), 1), n)
		return protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), times)
	}
	column := make([]byte, 2*wire.Uncounted)
	for name, c := range map[string]struct {
		message []byte
		says    string
	}{
		"a full batch":     {message: response(t, &workerpb.Results{Values: column, Errors: errs(most), ItemNs: make([]uint64, most)})},
		"a small message":  {message: response(t, &workerpb.Results{Errors: errs(wire.Uncounted / 4)})},
		"rubbish":          {message: bytes.Repeat([]byte{0xff}, 2*wire.Uncounted)},
		"errors":           {response(t, &workerpb.Results{Errors: errs(most + 1)}), "10001 errors in one message, the limit is 10000"},
		"errors, in parts": {several(2, &workerpb.Results{Errors: errs(most/2 + 1)}), "10002 errors"},
		"times":            {response(t, &workerpb.Results{ItemNs: make([]uint64, 2*wire.Uncounted)}), "32768 times"},
		"times, unpacked":  {unpacked(most + 1), "10001 times"},
		"empty results":    {several(most+1, &workerpb.Results{}), "10001 fields"},
	} {
		t.Run(name, func(t *testing.T) {
			err := wire.CheckResponse(c.message, most)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("a message of %d bytes: got %v, want %q", len(c.message), err, c.says)
			}
		})
	}
}

func FuzzCheckResponse(f *testing.F) {
	const most = 100
	pad := make([]byte, wire.Uncounted) // for a field that the message does not have
	pad = protowire.AppendBytes(protowire.AppendTag(nil, 100, protowire.BytesType), pad)
	f.Add(response(f, &workerpb.Results{Errors: []*workerpb.ItemError{{Item: 1}, {}}, ItemNs: []uint64{1, 1 << 40}}))
	f.Add(response(f, &workerpb.Results{ItemNs: make([]uint64, most+1)}))
	f.Fuzz(func(t *testing.T, message []byte) {
		message = append(message, pad...)
		if wire.CheckResponse(message, most) != nil {
			return
		}
		var r workerpb.WorkResponse
		if proto.Unmarshal(message, &r) != nil {
			return
		}
		if e, n := len(r.GetResults().GetErrors()), len(r.GetResults().GetItemNs()); e > most || n > most {
			t.Errorf("a message that passed has %d errors and %d times, want at most %d", e, n, most)
		}
	})
}
