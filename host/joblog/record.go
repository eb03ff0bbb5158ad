package joblog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire"
)

// A record is one line:
//
//	{"n":17,"item":"4b227777d4dd1fc61c6f884f48641d02","index":4,"worker":1,"pid":991,"wait_us":90,"run_us":8,"at_ms":1764417600000,"value":2,"crc":"…"}
//
// n is the number of the record. A later record with the same number replaces the earlier one: the item failed and was run again. item is the first
// half of the SHA-256 of the item's text. "occurrence" follows it if equal items came before, and says how many. index is the item's index in the
// input of the run that wrote the record. "attempts" follows the pid if it is not 1. at_ms is when the record was made, in milliseconds since 1970; a record
// without it is valid. If the item failed, "error" replaces "value". crc is the CRC-32C
// (RFC 3720, appendix B.4) of everything before its comma: a power cut may leave any bytes where the file was not synced.
//
// The checksum detects damage, but not who wrote a record. So parseRecord checks a record as strictly as an answer of a plugin: a value is one JSON
// text on one line, kinds and causes are known, numbers are in range, and texts are bounded.

// digest identifies an item's text: it is the first half of its SHA-256. The probability that two of 10⁹ items share a digest is 10⁻²¹.
type digest [16]byte

// keyOf returns the digest of an item, without the white space around the text.
func keyOf(item []byte) digest {
	sum := sha256.Sum256(bytes.TrimSpace(item))
	return digest(sum[:len(digest{})])
}

// id identifies an item of an input: it combines the item's digest and the number of equal items before it.
type id digest

// of returns the identity of an occurrence of a digest. The occurrence changes all bits of the first half, because the index takes its slot numbers
// from them.
func (k digest) of(occurrence uint32) id {
	half := binary.LittleEndian.Uint64(k[:]) ^ uint64(occurrence)*0x9E3779B97F4A7C15 // Knuth's multiplicative hash, TAOCP 6.4
	binary.LittleEndian.PutUint64(k[:], half)
	return id(k)
}

type result = host.Result[json.RawMessage]

// head holds the fields of a record that the index needs.
type head struct {
	n          int64
	key        digest
	occurrence uint32
	index      int64
	at         int64 // when the record was made, in milliseconds since 1970; 0 if it does not say
	failed     bool
}

// failure is the form of an item's error in a record.
type failure struct {
	Kind     host.Kind  `json:"kind"`
	Message  string     `json:"message"`
	Stack    string     `json:"stack,omitempty"`
	Offset   int        `json:"offset,omitempty"`
	Size     int64      `json:"size,omitempty"`
	ExitCode int        `json:"exit_code,omitempty"`
	Signal   string     `json:"signal,omitempty"`
	Stderr   []string   `json:"stderr,omitempty"`
	Cause    host.Cause `json:"cause,omitempty"`
}

// castagnoli is made when it is first needed, because that takes 0.2 ms.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

const (
	sealBytes = len(`,"crc":"00000000"}`)
	sealStart = `,"crc":"`
)

// seal appends the checksum and the end of the line that begins at from.
func seal(dst []byte, from int) []byte {
	sum := crc32.Checksum(dst[from:], castagnoli())
	dst = append(dst, sealStart...)
	dst = hex.AppendEncode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return append(dst, '"', '}', '\n')
}

// unseal returns the part of a line before its checksum. The line must not include its line break. It returns false if the checksum is wrong.
func unseal(line []byte) ([]byte, bool) {
	at := len(line) - sealBytes
	if at < 0 || string(line[at:at+len(sealStart)]) != sealStart || string(line[len(line)-2:]) != `"}` {
		return nil, false
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], line[at+len(sealStart):len(line)-2]); err != nil {
		return nil, false
	}
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	return line[:at], crc32.Checksum(line[:at], castagnoli()) == want
}

// appendRecord appends the record of a result. It takes the number, the digest, the occurrence and the time from h, and everything else from r.
func appendRecord(dst []byte, h *head, r *result) []byte {
	from := len(dst)
	dst = append(dst, `{"n":`...)
	dst = strconv.AppendInt(dst, h.n, 10)
	dst = append(dst, `,"item":"`...)
	dst = hex.AppendEncode(dst, h.key[:])
	if h.occurrence > 0 {
		dst = append(dst, `","occurrence":`...)
		dst = strconv.AppendUint(dst, uint64(h.occurrence), 10)
		dst = append(dst, `,"index":`...)
	} else {
		dst = append(dst, `","index":`...)
	}
	dst = strconv.AppendInt(dst, int64(r.Index), 10)
	dst = append(dst, `,"worker":`...)
	dst = strconv.AppendInt(dst, int64(r.Worker), 10)
	dst = append(dst, `,"pid":`...)
	dst = strconv.AppendInt(dst, int64(r.PID), 10)
	if r.Attempts != 1 {
		dst = append(dst, `,"attempts":`...)
		dst = strconv.AppendInt(dst, int64(r.Attempts), 10)
	}
	dst = append(dst, `,"wait_us":`...)
	dst = strconv.AppendInt(dst, max(0, r.Wait.Microseconds()), 10)
	dst = append(dst, `,"run_us":`...)
	dst = strconv.AppendInt(dst, max(0, r.Run.Microseconds()), 10)
	if h.at > 0 {
		dst = append(dst, `,"at_ms":`...)
		dst = strconv.AppendInt(dst, h.at, 10)
	}
	switch {
	case r.Err != nil:
		dst = append(dst, `,"error":`...)
		dst = appendFailure(dst, r.Err)
	default:
		dst = append(dst, `,"value":`...)
		dst = append(dst, r.Value...)
	}
	return seal(dst, from)
}

// oneLine puts the value of a result on one line and reports whether that is possible. On a goroutine, a workload of json.RawMessage may return any
// bytes. A value on one line is checked to be JSON only when it is read, because a check here would cost more than the write.
func oneLine(r *result) bool {
	if r.Err != nil || len(r.Value) > 0 && bytes.IndexByte(r.Value, '\n') < 0 && bytes.IndexByte(r.Value, '\r') < 0 {
		return true
	}
	if r.Value == nil {
		r.Value = json.RawMessage("null") // as a worker process does
		return true
	}
	var line bytes.Buffer
	if json.Compact(&line, r.Value) != nil {
		return false
	}
	r.Value = line.Bytes()
	return true
}

// Limits of a failure in a record. The texts come from a worker, and package host limits them in the same way.
const (
	maxFailureText = 6 * (wire.MaxMessageText + wire.MaxStackText + wire.MaxSignal + wire.MaxStderrLines*wire.MaxStderrLine) // bytes; one byte takes up to six in JSON
	maxFailure     = maxFailureText + 4*wire.MaxStderrLines + 1<<10
)

// failureOf returns the part of an error that a record holds, shortened to the limits.
func failureOf(e *host.ItemError) *failure {
	f := &failure{
		Kind: e.Kind, Message: bound.Text(e.Message, wire.MaxMessageText), Stack: bound.Text(e.Stack, wire.MaxStackText), Offset: int(min(max(0, int64(e.Offset)), wire.MaxOffset)),
		Size: min(max(0, e.Size), wire.MaxSize), ExitCode: e.ExitCode, Signal: bound.Text(e.Signal, wire.MaxSignal), Cause: e.Cause,
	}
	for _, line := range e.Stderr[max(0, len(e.Stderr)-wire.MaxStderrLines):] {
		f.Stderr = append(f.Stderr, bound.Text(line, wire.MaxStderrLine))
	}
	return f
}

// readable reports whether parseRecord will accept the record of a result. On a goroutine, a workload may return a value that is not JSON.
func readable(r *result) bool {
	if r.Err != nil {
		return wire.Possible(failureOf(r.Err).of(r))
	}
	return wire.ValidText(r.Value)
}

func appendFailure(dst []byte, e *host.ItemError) []byte {
	text, err := json.Marshal(failureOf(e))
	if err != nil { // no field of failure can fail to encode
		panic(err)
	}
	return append(dst, text...)
}

// parser reads the fields of a record in the fixed order in which they are written.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) begins(s string) bool {
	return len(p.rest) >= len(s) && string(p.rest[:len(s)]) == s
}

// word removes the prefix s from the rest and reports whether it was there.
func (p *parser) word(s string) bool {
	if !p.begins(s) {
		return false
	}
	p.rest = p.rest[len(s):]
	return true
}

// maxNumber is the largest number and index in a record: JSON readers that use float64 read it exactly.
const maxNumber = 1<<53 - 1

// number parses a field and its decimal digits. It sets bad if the value is not from 0 to most.
func (p *parser) number(field string, most int64) int64 {
	if !p.word(field) {
		p.bad = true
		return 0
	}
	n, i := int64(0), 0
	for ; i < len(p.rest) && '0' <= p.rest[i] && p.rest[i] <= '9'; i++ {
		digit := int64(p.rest[i] - '0')
		if n > (most-digit)/10 {
			p.bad = true
			return 0
		}
		n = 10*n + digit
	}
	p.bad = p.bad || i == 0 || i > 1 && p.rest[0] == '0'
	p.rest = p.rest[i:]
	return n
}

func (p *parser) key() (key digest) {
	if !p.word(`,"item":"`) || len(p.rest) < 2*len(key) {
		p.bad = true
		return key
	}
	if _, err := hex.Decode(key[:], p.rest[:2*len(key)]); err != nil {
		p.bad = true
	}
	p.rest = p.rest[2*len(key):]
	p.bad = !p.word(`"`) || p.bad
	return key
}

// parseHead parses a line without its line break, up to the value or error. The parser p holds the rest of the line.
func parseHead(line []byte) (h head, r result, p parser, ok bool) {
	if p.rest, ok = unseal(line); !ok {
		return h, r, p, false
	}
	h.n = p.number(`{"n":`, maxNumber)
	h.key = p.key()
	if p.begins(`,"occurrence":`) {
		h.occurrence = uint32(p.number(`,"occurrence":`, math.MaxUint32))
		p.bad = p.bad || h.occurrence == 0
	}
	h.index = p.number(`,"index":`, min(maxNumber, math.MaxInt))
	r.Worker = int(p.number(`,"worker":`, math.MaxInt32))
	r.PID = int(p.number(`,"pid":`, min(math.MaxUint32, math.MaxInt)))
	r.Attempts = 1
	if p.begins(`,"attempts":`) {
		r.Attempts = int(p.number(`,"attempts":`, math.MaxInt32))
		p.bad = p.bad || r.Attempts == 1
	}
	r.Wait = time.Duration(p.number(`,"wait_us":`, maxMicros)) * time.Microsecond
	r.Run = time.Duration(p.number(`,"run_us":`, maxMicros)) * time.Microsecond
	if p.begins(`,"at_ms":`) {
		h.at = p.number(`,"at_ms":`, maxNumber)
		p.bad = p.bad || h.at == 0
	}
	r.Index = int(h.index)
	h.failed = p.word(`,"error":`)
	return h, r, p, !p.bad
}

// parseRecord parses a line without its line break. The value shares the memory of line. It returns false for a record that no run could have
// written.
func parseRecord(line []byte) (h head, r result, ok bool) {
	h, r, p, ok := parseHead(line)
	switch {
	case !ok:
		return h, r, false
	case h.failed:
		var f failure
		if len(p.rest) > maxFailure || json.Unmarshal(p.rest, &f) != nil || !wire.Possible(f.of(&r)) {
			return h, r, false
		}
		r.Err = f.of(&r)
		return h, r, true
	case p.word(`,"value":`):
		r.Value = p.rest
		return h, r, wire.ValidText(r.Value)
	default:
		return h, r, false
	}
}

const maxMicros = int64(math.MaxInt64 / time.Microsecond)

// of returns the failure as an error, with the index and the attempts of r.
func (f *failure) of(r *result) *host.ItemError {
	return &host.ItemError{
		Index: r.Index, Kind: f.Kind, Message: f.Message, Stack: f.Stack, Offset: f.Offset, Size: f.Size,
		ExitCode: f.ExitCode, Signal: f.Signal, Stderr: f.Stderr, Cause: f.Cause, Attempts: r.Attempts,
	}
}
