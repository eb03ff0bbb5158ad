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
	"thread '", // Rust, with " panicked at"
}

// IsLastWord reports whether a line says why a process is about to end: the words of the runtimes of Go, Python, C, C++ and Rust, and of the sanitizers.
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
		case !IsLastWord(lines[i]):
		case strings.HasPrefix(line, "thread '") && i+1 < len(lines): // Rust puts the message into the next line
			word, firm = line+" "+lines[i+1], true
		case strings.HasPrefix(line, "SIGABRT: "), strings.HasPrefix(line, "runtime: "), strings.HasPrefix(line, "*** SIG"):
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

// lineBefore returns the last of lines that is not blank.
func lineBefore(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if strings.TrimSpace(line) != "" {
			return line
		}
	}
	return ""
}
