package family

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Env names the variable that a worker's descendants inherit. It holds NAME.NUMBER; if the host is itself a worker's descendant, what the
// variable held there comes first, and a comma.
const Env = "PARHOST_FAMILY"

// Numbers is how many workers of a pool can be told from one another.
const Numbers = 1 << 20

// Served says that this program's main has called sdk.Serve or sdk.ServeChild, so that its executable also serves as a guard.
var Served atomic.Bool

// Name is what all families of one pool are called. The zero value is nobody's.
type Name [16]byte

// New returns a name that nobody can guess.
func New() Name {
	var n Name
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// Parse is the reverse of [Name.String].
func Parse(text string) (Name, error) {
	var n Name
	if len(text) != hex.EncodedLen(len(n)) {
		return n, fmt.Errorf("family %q has %d characters, want %d", text, len(text), hex.EncodedLen(len(n)))
	}
	_, err := hex.Decode(n[:], []byte(text))
	return n, err
}

func (n Name) String() string { return hex.EncodeToString(n[:]) }

// Variable is what the environment of worker number needs, as "KEY=value".
func (n Name) Variable(number uint32) string {
	value := n.String() + "." + strconv.FormatUint(uint64(number), 10)
	if outer := os.Getenv(Env); outer != "" {
		value = outer + "," + value
	}
	return Env + "=" + value
}

// Own returns the family whose worker this process is, if it is one.
func Own() (n Name, number uint32, ok bool) {
	value := os.Getenv(Env)
	return parseMark(value[strings.LastIndexByte(value, ',')+1:])
}

func parseMark(text string) (n Name, number uint32, ok bool) {
	name, digits, _ := strings.Cut(text, ".")
	n, err := Parse(name)
	if err != nil {
		return n, 0, false
	}
	parsed, err := strconv.ParseUint(digits, 10, 32)
	return n, uint32(parsed), err == nil && parsed < Numbers
}

// markBit is in each mark that is a limit, and makes it hundreds of thousands of years.
const markBit = 1 << 62

// limit is the mark as a limit of time in microseconds: bit 62, then 42 bits of the name, then the number.
func (n Name) limit(number uint32) uint64 {
	return markBit | binary.BigEndian.Uint64(n[:])>>22*Numbers | uint64(number%Numbers)
}

// Search says whose families are to be ended.
type Search struct {
	Name Name
	// Of says which workers' families are meant. nil: all of that name.
	Of func(number uint32) bool
	// Spare says which processes are left alone though they are meant. nil: none.
	Spare func(pid int) bool
	// After is the number of a process that is older than all who are meant, 0 if none is known. Where few have been made since, a search
	// looks at their numbers alone, which takes 50 µs instead of some 5 µs for each process of the machine. It must not be so old that
	// the kernel may have given all numbers away since and begun again: there are at least 32768.
	After int
	// Reap says that members which are dead, and children of this process, need nobody else to wait for them: they are orphans, which the
	// kernel gives to pid 1 and to whoever has made itself a subreaper.
	Reap bool
	// Limit is how long this may take.
	Limit time.Duration
}

func (s *Search) of(number uint32) bool { return s.Of == nil || s.Of(number) }

// inLimit reports whether a limit is the mark of one who is meant.
func (s *Search) inLimit(limit uint64) bool {
	return limit&^(Numbers-1) == s.Name.limit(0) && s.of(uint32(limit%Numbers))
}

// inEnvironment reports whether an environment, as /proc shows it, has the mark of one who is meant.
func (s *Search) inEnvironment(environ []byte) bool {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		value, ok := strings.CutPrefix(string(entry), Env+"=")
		if !ok {
			continue
		}
		for mark := range strings.SplitSeq(value, ",") {
			if n, number, ok := parseMark(mark); ok && n == s.Name && s.of(number) {
				return true
			}
		}
	}
	return false
}
