package wire

import (
	"strings"
	"testing"
)

func TestLastWordIsWhatStandsBeforeTheDump(t *testing.T) {
	for name, c := range map[string]struct{ lines, want string }{
		"nothing":                    {"", ""},
		"no dump":                    {"loading\nmodel.bin is missing\n", "model.bin is missing"},
		"Go, nil map":                {"panic: assignment to entry in nil map\n\ngoroutine 7 [running]:\nmain.main.func1()\n\t/src/main.go:13 +0x29", "panic: assignment to entry in nil map"},
		"Go, nil pointer":            {"panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1]\n\ngoroutine 1", "panic: runtime error: invalid memory address or nil pointer dereference"},
		"Go, a panic in a defer":     {"panic: first\n\tpanic: second\n\ngoroutine 1 [running]:", "panic: second"},
		"Go, stack overflow":         {"runtime: goroutine stack exceeds 1000000000-byte limit\nruntime: sp=0xc0 stack=[0xc0]\nfatal error: stack overflow\n\nruntime stack:\nruntime.throw()", "fatal error: stack overflow"},
		"Go, a segfault in C":        {"SIGSEGV: segmentation violation\nPC=0x1 m=0 sigcode=1 addr=0x0\nsignal arrived during cgo execution\n\ngoroutine 1\nrip    0x1\ngs     0x0", "SIGSEGV: segmentation violation"},
		"Go, abort of the C library": {"free(): invalid pointer\nSIGABRT: abort\nPC=0x7f m=0 sigcode=18446744073709551610\n\ngoroutine 0\ngs     0x0", "free(): invalid pointer"},
		"Go, an abort without words": {"loaded\nSIGABRT: abort\nPC=0x7f m=0\ngs     0x0", "SIGABRT: abort"},
		"Go, stacks for the host":    {"waiting for a lock\nSIGQUIT: quit\nPC=0x1\n\ngoroutine 1\n\t/src/waitgroup.go:238 +0x73", "waiting for a lock"},
		"Go, nothing but stacks":     {"SIGQUIT: quit\nPC=0x1\n\ngoroutine 1\n\t/src/waitgroup.go:238 +0x73", ""},
		"C++":                        {"terminate called after throwing an instance of 'std::runtime_error'\n  what():  no model\nSIGABRT: abort\ngs     0x0", "terminate called after throwing an instance of 'std::runtime_error': no model"},
		"C, an assertion":            {"work: work.c:3: main: Assertion `n > 0' failed.\nSIGABRT: abort\ngs     0x0", "work: work.c:3: main: Assertion `n > 0' failed."},
		"C, a smashed stack":         {"*** stack smashing detected ***: terminated\nSIGABRT: abort\ngs     0x0", "*** stack smashing detected ***: terminated"},
		"C, a sanitizer":             {"==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x6\n    #0 0x4 in main\n==1==ABORTING", "==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x6"},
		"Python":                     {"Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    f()\n    ^^^\nValueError: no such\nas told", "ValueError: no such"},
		"Python, two exceptions":     {"Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\", line 2\nOSError: 2", "OSError: 2"},
		"Python, a fault":            {"Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File \"x.py\", line 2 in <module>\n\nExtension modules: numpy (total: 1)", "Fatal Python error: Segmentation fault"},
		"Rust":                       {"thread 'main' panicked at src/main.rs:2:5:\nno model\nnote: run with `RUST_BACKTRACE=1`", "thread 'main' panicked at src/main.rs:2:5: no model"},
	} {
		var lines []string
		if c.lines != "" {
			lines = strings.Split(c.lines, "\n")
		}
		if got := LastWord(lines); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
