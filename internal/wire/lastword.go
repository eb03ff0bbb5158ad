package wire

import (
	"slices"
	"strings"
)

// lastWords are how lines begin that say why a process ends. Runtimes print a dump after most of them, so such a line is seldom the last one.
var lastWords = []string{
	"fatal error: ", "panic: ", "unexpected fault address", "runtime: ", "runtime/cgo: ", "SIG", // Go
	"Fatal Python error: ",                                                                                                                 // Python's faulthandler
	"free(): ", "malloc(): ", "calloc(): ", "realloc(): ", "munmap_chunk(): ", "malloc_consolidate(): ", "mremap_chunk(): ", "sysmalloc: ", // glibc
	"double free or corruption", "corrupted size vs. prev_size", "corrupted double-linked list", "invalid fastbin entry", "*** ", "Fatal glibc error: ", "tcache_",
	"terminate called ", "libc++abi: ", "pure virtual method called", // C++
	"thread '",                                                         // Rust, with " panicked at"
	"Exception in thread \"", "FATAL ERROR: ", "Unhandled exception. ", // Java, Node, .NET
	"Assertion failed: ", // assert(3) of macOS and musl
}

// IsLastWord reports whether a line of output says why a process is about to die. It knows the messages of the runtimes of Go, Python, C, C++, Rust, Java,
// Node and .NET, and of the sanitizers.
func IsLastWord(line string) bool {
	line = strings.TrimLeft(line, "\t")
	if line == "" {
		return false
	}
	if begins[line[0]] { // most lines do not, and there may be a flood of them
		for _, prefix := range lastWords {
			if strings.HasPrefix(line, prefix) {
				return prefix != "thread '" || strings.Contains(line, "' panicked at ") || strings.Contains(line, ") panicked at ")
			}
		}
	}
	switch line[0] {
	case '=': // of a sanitizer, behind the number of the process
		return strings.Contains(line, "==ERROR: ")
	case ' ':
		return strings.HasPrefix(line, whatPrefix)
	default: // of assert(3), behind the place
		return strings.IndexByte(line, '`') > 0 && strings.Contains(line, ": Assertion `")
	}
}

// begins has the bytes with which lastWords begin.
var begins = func() (b [256]bool) {
	for _, prefix := range lastWords {
		b[prefix[0]] = true
	}
	return b
}()

// whatPrefix begins the line after "terminate called after throwing": the words of a C++ exception.
const whatPrefix = "  what():  "

// How Python's dump of an exception begins, and Go's dump on SIGQUIT.
const (
	tracebackPrefix = "Traceback (most recent call last):"
	quitPrefix      = "SIGQUIT: "
)

// IsQuit reports whether a line begins the stacks that a Go program shows on SIGQUIT, which its host sends: they say nothing of why.
func IsQuit(line string) bool { return strings.HasPrefix(line, quitPrefix) }

// How the panic of a Go program begins, and the stack that the runtime shows after its text.
const (
	panicPrefix     = "panic: "
	goroutinePrefix = "goroutine "
)

// The text of a panic is quoted up to these bounds.
const (
	MaxPanicLines = 64
	MaxPanicText  = 4 << 10 // bytes
)

// IsPanic reports whether a line begins the text of a panic of a Go program.
func IsPanic(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, "\t"), panicPrefix) }

// IsGoroutine reports whether a line begins the stack of a goroutine, as Go shows it after the text of a panic: goroutine 1 [running]:
func IsGoroutine(line string) bool {
	return strings.HasPrefix(line, goroutinePrefix) && strings.Contains(line, " [")
}

// PanicLines returns how many lines the text of a panic takes at the beginning of lines. Go indents its second line and those that follow by a tab.
// Before Go 1.23 it did not: there the text reaches up to the first goroutine's stack, if that follows within [MaxPanicLines].
func PanicLines(lines []string) int {
	indented := 1
	for indented < len(lines) && strings.HasPrefix(lines[indented], "\t") && !IsPanic(lines[indented]) {
		indented++
	}
	for n := indented; n < min(len(lines), MaxPanicLines); n++ {
		switch {
		case IsGoroutine(lines[n]), strings.HasPrefix(lines[n], "[signal "):
			for lines[n-1] == "" {
				n--
			}
			return n
		case IsLastWord(lines[n]):
			return indented
		}
	}
	return indented
}

// panicWord returns the text of a panic out of its lines, bounded, without the tabs that Go puts before all but the first.
func panicWord(lines []string) string {
	words := make([]string, 0, len(lines))
	for i, line := range lines[:min(len(lines), MaxPanicLines)] {
		if i == 0 {
			line = strings.TrimLeft(line, "\t")
		}
		words = append(words, strings.TrimPrefix(line, "\t"))
	}
	if len(lines) > MaxPanicLines {
		words = append(words, "…")
	}
	return Bound(strings.Join(words, "\n"), MaxPanicText)
}

// followers are beginnings of lines that runtimes write after the line that names the cause. They say less than that line.
var followers = []string{
	"SIGABRT: ", "runtime: ", "*** SIG", "*** Aborted at ", "terminate called without ", "terminate called recursively",
	"fatal error: fault", "fatal error: newosproc",
}

// isFrame reports whether a line is a call in the stack of an exception, as Java, Node, .NET and Ruby show it: the exception stands before the first.
func isFrame(line string) bool {
	call := strings.TrimLeft(line, " \t")
	return len(call) < len(line) && (strings.HasPrefix(call, "at ") || strings.HasPrefix(line, "\tfrom "))
}

// LastWord returns the line, of the last ones that a process wrote, which says why it ended: not the last line of a dump, but what stands before
// the dump. Without a dump it is the last line. It is empty if there is none.
func LastWord(lines []string) string {
	word, firm := "", false // firm: a cause, which a signal that follows from it does not replace
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], "\t")
		switch {
		case IsQuit(line):
			if word == "" {
				word = lineBefore(lines[:i])
			}
			return word
		case strings.HasPrefix(line, tracebackPrefix):
			for i++; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], " ")); i++ { // the frames
			}
			if i < len(lines) {
				word, firm = lines[i], true
			}
		case strings.HasPrefix(line, whatPrefix):
			if strings.HasPrefix(word, "terminate called ") {
				word += ": " + strings.TrimPrefix(line, whatPrefix)
			}
		case strings.HasPrefix(line, "  + Exception Group Traceback "):
			for i++; i < len(lines) && strings.HasPrefix(lines[i], "  |  "); i++ { // the frames
			}
			if i < len(lines) {
				word, firm = strings.TrimPrefix(lines[i], "  | "), true
			}
		case isFrame(lines[i]):
			if before := lineBefore(lines[:i]); before != "" && !strings.ContainsAny(before[:1], " \t") && !strings.HasPrefix(before, "Caused by: ") {
				word, firm = before, true
			}
		case strings.HasPrefix(line, "[signal ") && word == "fatal error: unexpected signal during runtime execution":
			word += " " + line
		case strings.HasPrefix(line, panicPrefix):
			text := lines[i : i+PanicLines(lines[i:])]
			i += len(text) - 1
			word, firm = panicWord(text), true
		case !IsLastWord(lines[i]):
		case strings.HasPrefix(line, "thread '") && i+1 < len(lines): // Rust puts the message into the next line
			word, firm = line+" "+lines[i+1], true
		case strings.HasPrefix(line, "*** Check failure stack trace: "): // glog, behind the check
			if before := lineBefore(lines[:i]); before != "" {
				line = before
			}
			word, firm = line, true
		case strings.HasPrefix(line, "runtime: failed to create new OS thread "):
			word, firm = line, true
		case slices.ContainsFunc(followers, func(prefix string) bool { return strings.HasPrefix(line, prefix) }):
			if !firm {
				word = line
			}
		default:
			word, firm = line, true
		}
	}
	if word == "" {
		return lineBefore(lines)
	}
	return word
}

// lineBefore returns the last line that is neither blank nor a hint of Node.
func lineBefore(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "Node.js v") && !strings.HasPrefix(line, "(Use `node --") {
			return line
		}
	}
	return ""
}
