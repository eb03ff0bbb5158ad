package lastword

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
		"Go, several lines":          {"panic: first\n\tsecond\n\t\n\t\tfatal error: third\n\ngoroutine 7 [running]:\nmain.main()\n\t/src/main.go:13 +0x29", "panic: first\nsecond\n\n\tfatal error: third"},
		"Go 1.22, several lines":     {"panic: first\nsecond\n\nthird\n[signal SIGSEGV: segmentation violation]\n\ngoroutine 7 [running]:\nmain.main()", "panic: first\nsecond\n\nthird"},
		"Go, several, in a defer":    {"panic: first\n\tsecond\n\tpanic: third\n\tfourth\n\ngoroutine 1 [running]:\n\t/src/main.go:13 +0x29", "panic: third\nfourth"},
		"Go, too many lines":         {"panic: 1" + strings.Repeat("\n\tmore", 200) + "\n\ngoroutine 7 [running]:\nmain.main()", "panic: 1" + strings.Repeat("\nmore", MaxPanicLines-1) + "\n…"},
		"a panic without a stack":    {"panic: at the disco\nline\nline", "panic: at the disco"},
		"Go, stack overflow":         {"runtime: goroutine stack exceeds 1000000000-byte limit\nruntime: sp=0xc0 stack=[0xc0]\nfatal error: stack overflow\n\nruntime stack:\nruntime.throw()", "fatal error: stack overflow"},
		"Go, a segfault in C":        {"SIGSEGV: segmentation violation\nPC=0x1 m=0 sigcode=1 addr=0x0\nsignal arrived during cgo execution\n\ngoroutine 1\nrip    0x1\ngs     0x0", "SIGSEGV: segmentation violation"},
		"Go, abort of the C library": {"free(): invalid pointer\nSIGABRT: abort\nPC=0x7f m=0 sigcode=18446744073709551610\n\ngoroutine 0\ngs     0x0", "free(): invalid pointer\nSIGABRT: abort"},
		"Go, an abort without words": {"loaded\nSIGABRT: abort\nPC=0x7f m=0\ngs     0x0", "loaded\nSIGABRT: abort"},
		"Go, stacks for the host":    {"waiting for a lock\nSIGQUIT: quit\nPC=0x1\n\ngoroutine 1\n\t/src/waitgroup.go:238 +0x73", "waiting for a lock"},
		"Go, nothing but stacks":     {"SIGQUIT: quit\nPC=0x1\n\ngoroutine 1\n\t/src/waitgroup.go:238 +0x73", ""},
		"C++":                        {"terminate called after throwing an instance of 'std::runtime_error'\n  what():  no model\nSIGABRT: abort\ngs     0x0", "terminate called after throwing an instance of 'std::runtime_error': no model\nSIGABRT: abort"},
		"C, an assertion":            {"work: work.c:3: main: Assertion `n > 0' failed.\nSIGABRT: abort\ngs     0x0", "work: work.c:3: main: Assertion `n > 0' failed.\nSIGABRT: abort"},
		"C, a smashed stack":         {"*** stack smashing detected ***: terminated\nSIGABRT: abort\ngs     0x0", "*** stack smashing detected ***: terminated\nSIGABRT: abort"},
		"C, a sanitizer":             {"==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x6\n    #0 0x4 in main\n==1==ABORTING", "==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x6"},
		"Python":                     {"Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    f()\n    ^^^\nValueError: no such\nas told", "ValueError: no such\nas told"},
		"Python, two exceptions":     {"Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\", line 2\nOSError: 2", "OSError: 2"},
		"Python, a fault":            {"Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n  File \"x.py\", line 2 in <module>\n\nExtension modules: numpy (total: 1)", "Fatal Python error: Segmentation fault"},
		"Go, a fault":                {"unexpected fault address 0xdeadbeef000\nfatal error: fault\n[signal SIGSEGV: segmentation violation code=0x1 addr=0xdeadbeef000 pc=0x9f7782]", "unexpected fault address 0xdeadbeef000"},
		"Go, no thread":              {"runtime: failed to create new OS thread (have 5 already; errno=11)\nruntime: may need to increase max user processes (ulimit -u)\nfatal error: newosproc", "runtime: failed to create new OS thread (have 5 already; errno=11)"},
		"Go, a deadlock":             {"fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [select (no cases)]:\nmain.main()\n\t/src/main.go:3 +0x1", "fatal error: all goroutines are asleep - deadlock!"},
		"Go, a signal":               {"fatal error: unexpected signal during runtime execution\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x7f]\n\nruntime stack:", "fatal error: unexpected signal during runtime execution [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x7f]"},
		"C++, a pure virtual call":   {"pure virtual method called\nterminate called without an active exception\nSIGABRT: abort\ngs     0x0", "pure virtual method called\nSIGABRT: abort"},
		"C++, a check":               {"F1128 14:21:17.985000 29235 model.cc:10] Check failed: n > 0 \n*** Check failure stack trace: ***", "F1128 14:21:17.985000 29235 model.cc:10] Check failed: n > 0 "},
		"Python, a group":            {"  + Exception Group Traceback (most recent call last):\n  |   File \"n.py\", line 6, in <module>\n  |     raise ExceptionGroup(\"several\", [])\n  | ExceptionGroup: several (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    | ValueError: one\n    +------------------------------------", "ExceptionGroup: several (2 sub-exceptions)"},
		"Java":                       {"Exception in thread \"main\" java.lang.IllegalStateException: bad setting\n\tat M.f(M.java:1)\n\tat M.main(M.java:3)\nCaused by: java.lang.NumberFormatException: For input string: \"x\"\n\tat java.base/java.lang.Integer.parseInt(Integer.java:668)\n\t... 2 more", "Exception in thread \"main\" java.lang.IllegalStateException: bad setting"},
		"Node":                       {"node:fs:573\n  return binding.open(\n                 ^\n\nError: ENOENT: no such file or directory, open '/nope'\n    at Object.openSync (node:fs:573:18)\n    at node:internal/main/run_main_module:28:49 {\n  errno: -2,\n  path: '/nope'\n}\n\nNode.js v20.20.2", "Error: ENOENT: no such file or directory, open '/nope'"},
		"Node, no error":             {"\n/tmp/c.js:1\nthrow \"no model\"\n^\nno model\n(Use `node --trace-uncaught ...` to show where the exception was thrown)\n\nNode.js v20.20.2", "no model"},
		"Node, no memory":            {"<--- JS stacktrace --->\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n----- Native stack trace -----\n\n 1: 0xb78db3 node::OOMErrorHandler(char const*) [node]", "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"},
		"Rust":                       {"thread 'main' panicked at src/main.rs:2:5:\nno model\nnote: run with `RUST_BACKTRACE=1`", "thread 'main' panicked at src/main.rs:2:5: no model"},
		"Rust, several lines":        {"\nthread 'main' (15223) panicked at b.rs:1:12:\nline one\nline two\n\nline four\nstack backtrace:\n   0: std::panicking::begin_panic::<&str>\n             at /rustc/59/library/std/src/panicking.rs:761:5\n   1: b::main\nnote: Some details are omitted", "thread 'main' (15223) panicked at b.rs:1:12: line one\nline two\n\nline four"},
		"Rust, an assertion":         {"thread 'main' panicked at a.rs:1:104:\nassertion `left == right` failed: numbers\ndiffer\n  left: 1\n right: 2\nnote: run with `RUST_BACKTRACE=1`", "thread 'main' panicked at a.rs:1:104: assertion `left == right` failed: numbers\ndiffer\n  left: 1\n right: 2"},
		"Rust, no hint":              {"thread 'main' panicked at a.rs:1:1:\none\ntwo", "thread 'main' panicked at a.rs:1:1: one\ntwo"},
		"C++, several lines":         {"terminate called after throwing an instance of 'std::runtime_error'\n  what():  line one\nline two", "terminate called after throwing an instance of 'std::runtime_error': line one\nline two"},
		"Python, several lines":      {"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    raise ValueError()\nValueError: line one\nline two\n\nline four", "ValueError: line one\nline two\n\nline four"},
		"Python, a cause":            {"Traceback (most recent call last):\n  File \"c.py\", line 2\nValueError: inner\nsecond\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"c.py\", line 4\nRuntimeError: outer\nsecond", "RuntimeError: outer\nsecond"},
		"Python, too many lines":     {"Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: 1" + strings.Repeat("\nmore", 200), "ValueError: 1" + strings.Repeat("\nmore", MaxPanicLines-1)},
		"Java, several lines":        {"Exception in thread \"main\" java.lang.IllegalStateException: line one\nline two\n\tat M.main(M.java:1)\nCaused by: java.lang.Error: inner\nsecond\n\tat M.f(M.java:2)\n\t... 1 more", "Exception in thread \"main\" java.lang.IllegalStateException: line one\nline two"},
		"Node, several lines":        {"/tmp/a.js:1\nthrow new Error(\"line one\\nline two\")\n^\n\nError: line one\nline two\n    at Object.<anonymous> (/tmp/a.js:1:7)\n    at Module._compile (node:internal/modules/cjs/loader:1521:14)\n\nNode.js v20.20.2", "Error: line one\nline two"},
		"Node, uncaught":             {"Uncaught TypeError: line one\nline two\n    at REPL1:1:7", "Uncaught TypeError: line one\nline two"},
		".NET, several lines":        {"Unhandled exception. System.InvalidOperationException: line one\nline two\n   at P.Main() in /src/p.cs:line 3", "Unhandled exception. System.InvalidOperationException: line one\nline two"},
		"Go, abort in C":             {"model: bad magic\nSIGABRT: abort\nPC=0x7f m=0 sigcode=18446744073709551610\nsignal arrived during cgo execution\n\ngoroutine 1 gp=0x1 m=0 [syscall]:\nruntime.cgocall(0x1, 0x2)\n\t/src/runtime/cgocall.go:167 +0x4b", "model: bad magic\nSIGABRT: abort"},
	} {
		var lines []string
		if c.lines != "" {
			lines = strings.Split(c.lines, "\n")
		}
		if got := In(lines); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
