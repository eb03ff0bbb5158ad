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

// Env is the environment variable that a worker's descendants inherit. Its value is NAME.NUMBER. If the host itself descends from a worker, the
// value begins with the host's own value of the variable and a comma.
const Env = "PARHOST_FAMILY"

// Numbers is the number of distinct worker numbers of a pool.
const Numbers = 1 << 20

// Served is true if this program's main has called sdk.Serve or sdk.ServeChild, so that its executable can also serve as a guard.
var Served atomic.Bool

// Name identifies the families of one pool: a family is a worker and its descendants. The zero value belongs to no pool.
type Name [16]byte

// New returns a random name that nobody can guess.
func New() Name {
	var n Name
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// Parse returns the name whose [Name.String] is text.
func Parse(text string) (Name, error) {
	var n Name
	if len(text) != hex.EncodedLen(len(n)) {
		return n, fmt.Errorf("family %q has %d characters, want %d", text, len(text), hex.EncodedLen(len(n)))
	}
	_, err := hex.Decode(n[:], []byte(text))
	return n, err
}

func (n Name) String() string { return hex.EncodeToString(n[:]) }

// Variable returns the environment variable that marks worker number, as "KEY=value".
func (n Name) Variable(number uint32) string {
	value := n.String() + "." + strconv.FormatUint(uint64(number), 10)
	if outer := os.Getenv(Env); outer != "" {
		value = outer + "," + value
	}
	return Env + "=" + value
}

// Own returns the family that this process belongs to. ok is false if this process is not a worker's descendant.
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

// markBit is set in each mark that is a resource limit. It makes the limit longer than a hundred thousand years.
const markBit = 1 << 62

// limit returns the mark as a limit of RLIMIT_RTTIME, in microseconds: bit 62, then 42 bits of the name, then the number.
func (n Name) limit(number uint32) uint64 {
	return markBit | binary.BigEndian.Uint64(n[:])>>22*Numbers | uint64(number%Numbers)
}

// Search describes the processes to find: the members of the families of one pool.
type Search struct {
	Name Name
	// Of reports whether a worker's family is searched for. If it is nil, all families of Name are.
	Of func(number uint32) bool
	// Spare reports whether a member is to be left alone. If it is nil, no member is.
	Spare func(pid int) bool
	// After is a process id that the kernel assigned before those of all members, or 0 if none is known. If few process ids have been assigned since,
	// the search looks only at these: it takes 50 µs, and otherwise about 5 µs for each process of the machine. After must not be so old that the
	// kernel may have wrapped around to it since: there are at least 32768 process ids.
	After int
	// Reap makes the search reap dead members that are children of this process. Set it if no other code waits for them. Such members are orphans,
	// which the kernel gives to pid 1 or to a subreaper.
	Reap bool
	// Limit bounds the time of the search.
	Limit time.Duration
}

func (s *Search) of(number uint32) bool { return s.Of == nil || s.Of(number) }

// inLimit reports whether a resource limit is the mark of a process that the search is for.
func (s *Search) inLimit(limit uint64) bool {
	return limit&^(Numbers-1) == s.Name.limit(0) && s.of(uint32(limit%Numbers))
}

// inEnvironment reports whether an environment, in the format of /proc/PID/environ, has the mark of a process that the search is for.
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
