// Package lastword finds the line that says why a process ended, among the last lines that it wrote.
package lastword

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/parhost/parhost/internal/bound"
)

// lastWords are the beginnings of lines that say why a process ends. Runtimes print a dump after most of them, so such a line is seldom the last one.
var lastWords = []string{
	"fatal error: ", "panic: ", "unexpected fault address", "runtime: ", "runtime/cgo: ", "SIG", // Go
	"Fatal Python error: ",                                                                                                                 // Python's faulthandler
	"free(): ", "malloc(): ", "calloc(): ", "realloc(): ", "munmap_chunk(): ", "malloc_consolidate(): ", "mremap_chunk(): ", "sysmalloc: ", // glibc
	"double free or corruption", "corrupted size vs. prev_size", "corrupted double-linked list", "invalid fastbin entry", "*** ", "Fatal glibc error: ", "tcache_",
	"terminate called ", "libc++abi: ", "pure virtual method called", // C++
	rustPrefix,                                                         // Rust, with " panicked at"
	"Exception in thread \"", "FATAL ERROR: ", "Unhandled exception. ", // Java, Node, .NET
	"Assertion failed: ", // assert(3) of macOS and musl
}

// Is reports whether a line of output says why a process is about to die. It knows the messages of the runtimes of Go, Python, C, C++,
// Rust, Java, Node and .NET, and of the sanitizers.
func Is(line string) bool {
	line = strings.TrimLeft(line, "\t")
	if line == "" {
		return false
	}
	if begins[line[0]] { // most lines fail this cheap test, which matters if a process floods its output
		for _, prefix := range lastWords {
			if strings.HasPrefix(line, prefix) {
				return prefix != rustPrefix || strings.Contains(line, "' panicked at ") || strings.Contains(line, ") panicked at ")
			}
		}
	}
	switch line[0] {
	case '=': // of a sanitizer, after the process id
		return strings.Contains(line, "==ERROR: ")
	case ' ':
		return strings.HasPrefix(line, whatPrefix)
	default: // of assert(3), after the place in the source
		return strings.IndexByte(line, '`') > 0 && strings.Contains(line, ": Assertion `")
	}
}

// begins is true for the first byte of each entry of lastWords.
var begins = func() (b [256]bool) {
	for _, prefix := range lastWords {
		b[prefix[0]] = true
	}
	return b
}()

// whatPrefix begins the line after "terminate called after throwing", which has the message of a C++ exception.
const whatPrefix = "  what():  "

// The beginnings of Python's dump of an exception, and of Go's dumps on SIGQUIT and SIGABRT.
const (
	tracebackPrefix = "Traceback (most recent call last):"
	quitPrefix      = "SIGQUIT: "
	abortPrefix     = "SIGABRT: "
)

// IsQuit reports whether a line begins the stacks that a Go program prints on SIGQUIT. The host sends this signal, so the dump does not say why the
// process ends.
func IsQuit(line string) bool { return strings.HasPrefix(line, quitPrefix) }

// IsAbort reports whether a line begins the dump that a Go program writes after abort(3) in C. The lines before it may give the reason.
func IsAbort(line string) bool { return strings.HasPrefix(line, abortPrefix) }

// The beginnings of the panic of a Go program, and of the stack that the runtime prints after the panic's text.
const (
	panicPrefix     = "panic: "
	goroutinePrefix = "goroutine "
)

// Limits for a quoted text of a panic.
const (
	MaxPanicLines = 64
	MaxPanicText  = 4 << 10 // bytes
)

// IsPanic reports whether a line begins the text of a panic of a Go program.
func IsPanic(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, "\t"), panicPrefix) }

// IsGoroutine reports whether a line begins the stack of a goroutine, as Go prints it after the text of a panic: goroutine 1 [running]:
func IsGoroutine(line string) bool {
	return strings.HasPrefix(line, goroutinePrefix) && strings.Contains(line, " [")
}

// PanicLines returns how many of the lines belong to the text of a panic that begins in the first one. Go indents all lines but the first by a tab.
// Before Go 1.23 it did not: then the text ends before the first goroutine's stack, if that follows within [MaxPanicLines].
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
		case Is(lines[n]):
			return indented
		}
	}
	return indented
}

// panicWord joins the lines of a panic's text, limited in number and bytes, without the tabs that Go puts before all but the first.
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
	return bound.Text(strings.Join(words, "\n"), MaxPanicText)
}

// GrowsText reports whether a line begins a text of several lines that says why a process dies: a panic of Go or Rust, or an exception of C++, Java or .NET.
func GrowsText(line string) bool {
	return Is(line) && slices.ContainsFunc(texts, func(prefix string) bool { return strings.HasPrefix(line, prefix) })
}

var texts = []string{panicPrefix, "\tpanic: ", rustPrefix, whatPrefix, "Exception in thread \"", "Unhandled exception. "}

const (
	rustPrefix     = "thread '"
	causedByPrefix = "Caused by: "
)

// EndsText reports whether a line no longer belongs to the text of an exception: a stack frame, a hint, or the first line of another dump.
func EndsText(line string) bool {
	return isFrame(line) || Is(line) || IsGoroutine(line) || strings.HasPrefix(line, "note: ") || line == "stack backtrace:" ||
		strings.HasPrefix(line, tracebackPrefix) || strings.HasPrefix(line, causedByPrefix) || strings.HasPrefix(line, "Node.js v") ||
		strings.HasPrefix(line, "During handling of the above exception,") || strings.HasPrefix(line, "The above exception was the direct cause")
}

// textLines returns how many of the lines belong to the text of an exception that begins in the first one. Blank lines at its end do not count.
func textLines(lines []string) int {
	n := 1
	for n < len(lines) && n < MaxPanicLines && !EndsText(lines[n]) {
		n++
	}
	for n > 1 && strings.TrimSpace(lines[n-1]) == "" {
		n--
	}
	return n
}

// exceptionHead matches the first line of an exception that Node, Java, .NET or Ruby prints before its frames.
var exceptionHead = sync.OnceValue(func() *regexp.Regexp { // compiled on first use, not at the start of each plugin
	return regexp.MustCompile(`^(Uncaught |Unhandled exception\. |Exception in thread ".*" )?[\w.$]*(Error|Exception)\b[^:]*(:|$)`)
})

// headOf returns the index of the first line of an exception. at is the index of its last line before the frames.
func headOf(lines []string, at int) int {
	for i := at; i >= 0 && i > at-MaxPanicLines && !isFrame(lines[i]); i-- {
		if exceptionHead().MatchString(lines[i]) || strings.HasPrefix(lines[i], causedByPrefix) || GrowsText(lines[i]) {
			return i
		}
	}
	return at
}

// followers are beginnings of lines that runtimes write after the line that names the cause. These lines say less than that line.
var followers = []string{
	"runtime: ", "*** SIG", "*** Aborted at ", "terminate called without ", "terminate called recursively",
	"fatal error: fault", "fatal error: newosproc",
}

// isFrame reports whether a line is a stack frame of an exception, in the format of Java, Node, .NET or Ruby. The exception stands before its first frame.
func isFrame(line string) bool {
	call := strings.TrimLeft(line, " \t")
	return len(call) < len(line) && (strings.HasPrefix(call, "at ") || strings.HasPrefix(line, "\tfrom "))
}

// In returns the line that says why a process ended, out of the last lines that the process wrote. It is the line before a dump, not the last
// line of the dump. Without a dump it is the last line that is not blank. It is empty if there is none. The text of a panic or exception may have
// several lines.
func In(lines []string) string {
	word, firm := "", false // firm: word names a cause, which a signal that follows from it does not replace
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], "\t")
		switch {
		case IsQuit(line):
			if word == "" {
				word = lineBefore(lines[:i])
			}
			return word
		case strings.HasPrefix(line, tracebackPrefix):
			for i++; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], " ")); i++ { // skip the frames
			}
			if i < len(lines) {
				text := lines[i : i+textLines(lines[i:])]
				i += len(text) - 1
				word, firm = panicWord(text), true
			}
		case strings.HasPrefix(line, whatPrefix):
			text := lines[i : i+textLines(lines[i:])]
			i += len(text) - 1
			if strings.HasPrefix(word, "terminate called ") {
				word = bound.Text(word+": "+strings.TrimPrefix(panicWord(text), whatPrefix), MaxPanicText)
			}
		case strings.HasPrefix(line, "  + Exception Group Traceback "):
			for i++; i < len(lines) && strings.HasPrefix(lines[i], "  |  "); i++ { // skip the frames
			}
			if i < len(lines) {
				word, firm = strings.TrimPrefix(lines[i], "  | "), true
			}
		case isFrame(lines[i]):
			last := i - 1
			for last >= 0 && strings.TrimSpace(lines[last]) == "" {
				last--
			}
			if last < 0 || isFrame(lines[last]) {
				continue
			}
			text := lines[headOf(lines, last) : last+1]
			if !strings.ContainsAny(text[0][:1], " \t") && !strings.HasPrefix(text[0], causedByPrefix) && !strings.HasPrefix(text[0], rustPrefix) {
				word, firm = panicWord(text), true
			}
		case strings.HasPrefix(line, "[signal ") && word == "fatal error: unexpected signal during runtime execution":
			word += " " + line
		case strings.HasPrefix(line, panicPrefix):
			text := lines[i : i+PanicLines(lines[i:])]
			i += len(text) - 1
			word, firm = panicWord(text), true
		case !Is(lines[i]):
		case strings.HasPrefix(line, abortPrefix): // a program with C code may have written the reason before
			if before := lineBefore(lines[:i]); word == "" && before != "" {
				word = before
			}
			word, firm = strings.TrimPrefix(word+"\n"+line, "\n"), true
		case strings.HasPrefix(line, rustPrefix): // Rust prints the message in the lines that follow
			text := lines[i : i+textLines(lines[i:])]
			i += len(text) - 1
			word, firm = strings.Replace(panicWord(text), "\n", " ", 1), true
		case strings.HasPrefix(line, "*** Check failure stack trace: "): // of glog, after the failed check
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

// lineBefore returns the last line that is neither blank nor one of Node's hints.
func lineBefore(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "Node.js v") && !strings.HasPrefix(line, "(Use `node --") {
			return line
		}
	}
	return ""
}
