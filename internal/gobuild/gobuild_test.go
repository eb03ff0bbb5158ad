package gobuild_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parhost/parhost/internal/gobuild"
)

// ownCache gives a test its own cache of executables, and Go settings that do not depend on the machine.
func ownCache(t *testing.T) {
	t.Helper()
	for _, key := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", key).Output()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(key, strings.TrimSpace(string(out)))
	}
	for key, value := range map[string]string{
		"HOME": t.TempDir(), "XDG_CACHE_HOME": t.TempDir(), "XDG_CONFIG_HOME": t.TempDir(), "GOPROXY": "off", "GOWORK": "", "GOFLAGS": "", "CGO_ENABLED": "",
	} {
		t.Setenv(key, value)
	}
	for _, key := range []string{"GOWORK", "CGO_ENABLED"} {
		if err := os.Unsetenv(key); err != nil {
			t.Fatal(err)
		}
	}
}

// tree maps file names to contents. A content that begins with "-> " makes a symbolic link to the path that follows. %DIR% in names and contents
// stands for the folder in which the files are written.
type tree map[string]string

func (files tree) write(t *testing.T, dir string) {
	t.Helper()
	in := strings.NewReplacer("%DIR%", dir)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, text := filepath.Join(dir, name), in.Replace(files[name])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, isLink := strings.CutPrefix(text, "-> "); isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

const (
	goMod = "module example.com/plugin\n\ngo 1.25\n"
	// secret is the content of the user's files, which must not get into an executable.
	secret = "s3cr3t-of-the-user"
)

// private is what the user has beside the stranger's folder, theirs.
var private = tree{
	"private/key.txt":       secret + "\n",
	"private/key.h":         "#define KEY \"" + secret + "\"\n",
	"private/key.s":         "#include \"textflag.h\"\nDATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\nGLOBL ·key(SB), NOPTR|RODATA, $8\n",
	"private/asm.h":         "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"private/key.go":        "package main\n\nfunc init() { println(\"" + secret + "\") }\n",
	"private/lib/lib.go":    "package lib\n\nfunc Key() string { return \"" + secret + "\" }\n",
	"private/lib.pc":        "Name: lib\nDescription: lib\nVersion: 1\nCflags: -DKEY=" + secret[:6] + "\n",
	"mine/go.mod":           "module example.com/mine\n\ngo 1.25\n",
	"mine/.env.h":           "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"mine/lib/lib.go":       "package lib\n\nfunc Nothing() {}\n",
	"modules/cache/asm.h":   "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"modules/a@v1/asm.h":    "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"modules/cache/key.zip": secret,
	// The following files have names that Go reads, but lie where Go does not read them.
	"mine/go.sum":                 "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"private/key.info":            "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"private/mod/go.mod":          "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"private/vendor/modules.txt":  "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"modules/b@v1/go.mod":         "module example.com/mine\n\ngo 1.25\n",
	"modules/b@v1/lib/lib.go":     "package lib\n\nfunc Nothing() {}\n",
	"modules/b@v1/.env.h":         "DATA ·key+0(SB)/8, $\"" + secret[:8] + "\"\n",
	"modules/cache/download/k.go": "package k\n",
}

const (
	asmGo = "package main\n\nvar key [8]byte\n\nfunc main() { println(string(key[:])) }\n"
	globl = "GLOBL ·key(SB), NOPTR|RODATA, $8\n"
)

// including is assembly that reads the value of asmGo's variable from the file at path.
func including(path string) string {
	return "#include \"textflag.h\"\n#include \"" + path + "\"\n" + globl
}

func incbin(path string) string {
	return "package main\n\n/*\n__asm__(\".weak key\\nkey: .incbin \\\"" + path + "\\\"\\n.byte 0\\n\");\nextern char key;\n*/\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key)) }\n"
}

func linking(object string) string {
	return "package main\n\n// #cgo LDFLAGS: " + object + "\n// extern char key[1];\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key[0])) }\n"
}

// Each folder tries to get one of the user's files into the executable, from which the plugin could then return it in any sandbox. The names of
// cases become parts of paths, so they contain only characters that a #cgo line may contain.
func TestNoFileOfTheUsersIsBuiltIn(t *testing.T) {
	for name, c := range map[string]struct {
		files tree
		dir   string // the package folder; empty means theirs
		// goRefuses means that the go command itself refuses the folder. For all other cases the test shows that the go command does not.
		goRefuses bool
		// withoutC leaves out the build with cgo: there the folder's whole module is readable, and in this case that is the user's own folder.
		withoutC bool
	}{
		"C: incbin":             {files: tree{"theirs/main.go": incbin("%DIR%/private/key.txt")}},
		"C: incbin upwards":     {files: tree{"theirs/main.go": incbin("../private/key.txt"), "theirs/key.c": "__asm__(\".globl k\\nk: .incbin \\\"%DIR%/private/key.txt\\\"\\n\");\n"}},
		"C: incbin in assembly": {files: tree{"theirs/key.S": ".globl key\nkey: .incbin \"%DIR%/private/key.txt\"\n.byte 0\n.section .note.GNU-stack,\"\",@progbits\n", "theirs/main.go": "package main\n\n// extern char key;\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key)) }\n"}},
		"C: incbin of a module": {files: tree{"theirs/main.go": incbin("%DIR%/modules/cache/key.zip")}},
		"C: incbin of the go command's memory": {
			files: tree{"theirs/main.go": incbin("/proc/self/environ")}, goRefuses: true,
		},
		"C: an object": {files: tree{"private/key.c": "char key[] = \"" + secret + "\";\n", "theirs/main.go": linking("%DIR%/private/key.o")}},
		"C: a linker script": {files: tree{
			"private/key.c": "char key[] = \"" + secret + "\";\n", "theirs/main.go": linking("${SRCDIR}/libkey.a"), "theirs/libkey.a": "INPUT(%DIR%/private/key.o)\n",
		}},
		"C: include":             {files: tree{"theirs/main.go": "package main\n\n// #include \"%DIR%/private/key.h\"\n// char key[] = KEY;\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key[0])) }\n"}},
		"C: include by a flag":   {files: tree{"theirs/main.go": "package main\n\n// #cgo CFLAGS: -I%DIR%/private\n// #include <key.h>\n// char key[] = KEY;\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key[0])) }\n"}},
		"C: a link to a header":  {files: tree{"theirs/key.h": "-> ../private/key.h", "theirs/main.go": "package main\n\n// #include \"key.h\"\n// char key[] = KEY;\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key[0])) }\n"}},
		"C: a link to any file":  {files: tree{"theirs/key": "-> ../private/key.txt", "theirs/main.go": incbin("key"), "theirs/key.c": "__asm__(\".globl k\\nk: .incbin \\\"%DIR%/theirs/key\\\"\\n\");\n"}},
		"C by pkg-config":        {files: tree{"theirs/main.go": "package main\n\n// #cgo pkg-config: %DIR%/private/lib.pc\n// #define TEXT(x) #x\n// #define MORE(x) TEXT(x)\n// char key[] = MORE(KEY);\nimport \"C\"\n\nfunc main() { println(C.GoString(&C.key[0])) }\n"}},
		"C: response file":       {files: tree{"theirs/main.go": "package main\n\n// #cgo LDFLAGS: @%DIR%/private/key.txt\nimport \"C\"\n\nfunc main() {}\n"}, goRefuses: true},
		"assembly: include":      {files: tree{"theirs/main.go": asmGo, "theirs/a.s": "#include \"textflag.h\"\n#include \"%DIR%/private/asm.h\"\n" + globl}},
		"assembly: upwards":      {files: tree{"theirs/main.go": asmGo, "theirs/a.s": "#include \"textflag.h\"\n#include \"../private/asm.h\"\n" + globl}},
		"assembly: in a header":  {files: tree{"theirs/main.go": asmGo, "theirs/b.h": "#include /* */ \"\\x2e./private/asm.h\"\n", "theirs/a.s": "#include \"textflag.h\"\n#include \"b.h\"\n" + globl}},
		"assembly: of a module":  {files: tree{"theirs/main.go": asmGo, "theirs/a.s": "#include \"textflag.h\"\n#include \"%DIR%/modules/a@v1/asm.h\"\n" + globl}},
		"assembly: of the cache": {files: tree{"theirs/main.go": asmGo, "theirs/a.s": "#include \"textflag.h\"\n#include \"%DIR%/modules/cache/asm.h\"\n" + globl}},
		"assembly: a link":       {files: tree{"theirs/main.go": asmGo, "theirs/a.s": "-> ../private/key.s"}},
		"assembly: a linked text": {
			files: tree{"theirs/main.go": asmGo, "theirs/x.txt": "-> ../private/asm.h", "theirs/a.s": "#include \"textflag.h\"\n#include \"x.txt\"\n" + globl},
		},
		"assembly: beside a replaced module": {files: tree{
			"theirs/go.mod":  goMod + "require example.com/mine v0.0.0\nreplace example.com/mine => ../mine\n",
			"theirs/main.go": asmGo + "\nfunc init() { lib.Nothing() }\n", "theirs/a.s": "#include \"textflag.h\"\n#include \"../mine/.env.h\"\n" + globl,
		}},
		"assembly: beside the user's module": {dir: "mine/theirs", withoutC: true, files: tree{
			"mine/theirs/main.go": asmGo, "mine/theirs/a.s": "#include \"textflag.h\"\n#include \"../.env.h\"\n" + globl,
		}},
		"a link to a source":     {files: tree{"theirs/main.go": "package main\n\nfunc main() {}\n", "theirs/key.go": "-> ../private/key.go"}},
		"a link to a package":    {files: tree{"theirs/main.go": "package main\n\nimport \"example.com/plugin/lib\"\n\nfunc main() { println(lib.Key()) }\n", "theirs/lib": "-> ../private/lib"}},
		"embed: a link":          {files: tree{"theirs/main.go": "package main\n\nimport _ \"embed\"\n\n//go:embed key.txt\nvar key string\n\nfunc main() { println(key) }\n", "theirs/key.txt": "-> ../private/key.txt"}, goRefuses: true},
		"embed: a linked folder": {files: tree{"theirs/main.go": "package main\n\nimport _ \"embed\"\n\n//go:embed x/key.txt\nvar key string\n\nfunc main() { println(key) }\n", "theirs/x": "-> ../private"}, goRefuses: true},
		"an object":              {files: tree{"theirs/main.go": "package main\n\nfunc main() {}\n", "theirs/key_linux.syso": "-> ../private/key.txt"}, goRefuses: true},
		"go.sum: a path": {files: tree{
			"theirs/go.sum": "../../../private ../key h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "theirs/main.go": asmGo, "theirs/a.s": including("%DIR%/private/key.info"),
		}},
		"go.sum: a link to a folder": {files: tree{
			"theirs/go.sum": "../../../theirs ../k h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "theirs/k.info": "-> /", "theirs/main.go": asmGo, "theirs/a.s": including("%DIR%/private/asm.h"),
		}},
		"go.sum: a link beside the cache": {files: tree{
			"theirs/go.sum": "../../../theirs ../k h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "theirs/k.mod": "-> ../private", "theirs/main.go": asmGo, "theirs/a.s": including("%DIR%/private/asm.h"),
		}},
		"go.mod: a comment":           {files: tree{"theirs/go.mod": goMod + "// ../private/mod\n", "theirs/main.go": asmGo, "theirs/a.s": including("../private/mod/go.mod")}},
		"go.mod: a comment, absolute": {files: tree{"theirs/go.mod": goMod + "// %DIR%/private/mod\n", "theirs/main.go": asmGo, "theirs/a.s": including("../private/mod/go.mod")}},
		"go.sum of a replacement": {files: tree{
			"theirs/go.mod":  goMod + "require example.com/mine v0.0.0\nreplace example.com/mine => ../mine\n",
			"theirs/main.go": asmGo + "\nfunc init() { lib.Nothing() }\n", "theirs/a.s": including("../mine/go.sum"),
		}},
		"a replacement in the module cache": {files: tree{
			"theirs/go.mod":  goMod + "require example.com/mine v0.0.0\nreplace example.com/mine => ../modules/b@v1\n",
			"theirs/main.go": asmGo + "\nfunc init() { lib.Nothing() }\n", "theirs/a.s": including("../modules/b@v1/.env.h"),
		}},
		"vendor: a link": {files: tree{"theirs/vendor": "-> ../private/vendor", "theirs/main.go": asmGo, "theirs/a.s": including("../private/vendor/modules.txt")}},
		"a profile that is a folder": {dir: "mine/theirs", withoutC: true, files: tree{
			"mine/theirs/lib/default.pgo": "-> ../..", "mine/theirs/lib/lib.go": "package lib\n\nfunc Nothing() {}\n",
			"mine/theirs/main.go": strings.Replace(asmGo, "\n", "\n\nimport \"example.com/mine/theirs/lib\"\n", 1) + "\nfunc init() { lib.Nothing() }\n", "mine/theirs/a.s": including("../.env.h"),
		}},
		"go.mod: a link": {files: tree{"theirs/main.go": asmGo, "theirs/a.s": "#include \"textflag.h\"\n#include \"x/go.mod\"\n" + globl, "theirs/x/go.mod": "-> ../../private/asm.h", "theirs/go.mod": goMod + "// ./x\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			ownCache(t)
			dir := t.TempDir()
			t.Setenv("GOMODCACHE", filepath.Join(dir, "modules"))
			t.Setenv("KEY", secret)
			if fix, ok := c.files["theirs/main.go"]; ok && strings.Contains(fix, "lib.Nothing") {
				c.files["theirs/main.go"] = strings.Replace(fix, "package main\n", "package main\n\nimport \"example.com/mine/lib\"\n", 1)
			}
			private.write(t, dir)
			tree{"theirs/go.mod": goMod}.write(t, dir)
			if _, own := c.files["theirs/go.mod"]; own {
				if err := os.Remove(filepath.Join(dir, "theirs/go.mod")); err != nil {
					t.Fatal(err)
				}
			}
			c.files.write(t, dir)
			if _, ok := c.files["private/key.c"]; ok && haveC() {
				if out, err := exec.Command("gcc", "-c", filepath.Join(dir, "private/key.c"), "-o", filepath.Join(dir, "private/key.o")).CombinedOutput(); err != nil {
					t.Fatalf("gcc: %v: %s", err, out)
				}
			}
			folder := filepath.Join(dir, "theirs")
			if c.dir != "" {
				folder = filepath.Join(dir, c.dir)
			}
			if !c.goRefuses && (!strings.HasPrefix(name, "C") || haveC()) {
				plain := filepath.Join(dir, "plain")
				cmd := exec.Command("go", "build", "-buildvcs=false", "-o", plain, ".")
				cmd.Dir = folder
				out, err := cmd.CombinedOutput()
				if err != nil || !holdsSecret(t, plain) {
					t.Errorf("go build by itself: got %v and no secret, want the attempt to succeed there:\n%s", err, out)
				}
			}
			for _, cgo := range []bool{false, true} {
				if cgo && c.withoutC {
					continue
				}
				path, err := gobuild.Build(t.Context(), folder, gobuild.Options{Cgo: cgo})
				t.Logf("cgo %v: %v", cgo, err)
				if err == nil && holdsSecret(t, path) {
					t.Errorf("cgo %v: got an executable with the user's secret in it", cgo)
				}
				if left, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "parhost/plugins/*/new-*")); len(left) > 0 {
					t.Errorf("cgo %v: got %q left behind, want nothing", cgo, left)
				}
			}
		})
	}
}

func holdsSecret(t *testing.T, path string) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	return bytes.Contains(b, []byte(secret[:6]))
}

// haveC reports whether a C compiler, gcc, is installed.
func haveC() bool {
	_, err := exec.LookPath("gcc")
	return err == nil
}

// profile returns the CPU profile of a program that did nothing.
func profile(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := pprof.StartCPUProfile(&b); err != nil {
		t.Fatal(err)
	}
	pprof.StopCPUProfile()
	return b.String()
}

func TestHonestFoldersAreBuilt(t *testing.T) {
	hello := "package main\n\nfunc main() { print(\"hello\") }\n"
	lib := tree{"lib/go.mod": "module example.com/lib\n\ngo 1.25\n", "lib/say/say.go": "package say\n\nfunc Hello() { print(\"hello\") }\n"}
	uses := "package main\n\nimport \"example.com/lib/say\"\n\nfunc main() { say.Hello() }\n"
	with := func(files ...tree) tree {
		all := tree{}
		for _, f := range files {
			maps.Copy(all, f)
		}
		return all
	}
	for name, c := range map[string]struct {
		files tree
		dir   string // the package folder; empty means mine
		cgo   bool
		says  string // the modules that Outside is called with, relative to %DIR%
	}{
		"alone":    {files: tree{"mine/main.go": hello}},
		"embed":    {files: tree{"mine/main.go": "package main\n\nimport \"embed\"\n\n//go:embed all:data\nvar data embed.FS\n\nfunc main() { b, _ := data.ReadFile(\"data/deep/.x\"); print(string(b)) }\n", "mine/data/deep/.x": "hello"}},
		"assembly": {files: tree{"mine/main.go": "package main\n\nvar key [5]byte\n\nfunc main() { print(string(key[:])) }\n", "mine/a.s": "#include \"textflag.h\"\n#include \"b.h\"\nGLOBL ·key(SB), NOPTR|RODATA, $5\n", "mine/b.h": "DATA ·key+0(SB)/5, $\"hello\"\n"}},
		"profile":  {files: tree{"mine/main.go": hello, "mine/default.pgo": profile(t)}},
		"tests and other systems' files": {files: tree{
			"mine/main.go": hello, "mine/main_test.go": "package main\n\nimport \"example.com/nowhere\"\n", "mine/x_plan9.go": "package main\n", "mine/.#main.go": "-> somebody@somewhere",
		}},
		"a link inside":       {files: tree{"mine/cmd/main.go": "-> ../main.txt", "mine/main.txt": hello}, dir: "mine/cmd"},
		"reached by a link":   {files: tree{"mine/main.go": hello, "there": "-> mine"}, dir: "there"},
		"of a larger module":  {files: with(lib, tree{"lib/cmd/x/main.go": uses, "lib/.env": "x"}), dir: "lib/cmd/x"},
		"replace":             {files: with(lib, tree{"mine/main.go": uses, "mine/go.mod": goMod + "require example.com/lib v0.0.0\nreplace example.com/lib => ../lib\n"}), says: "lib"},
		"replace, absolute":   {files: with(lib, tree{"mine/main.go": uses, "mine/go.mod": goMod + "require example.com/lib v0.0.0\nreplace example.com/lib => \"%DIR%/lib\"\n"}), says: "lib"},
		"replace, not linked": {files: with(lib, tree{"mine/main.go": hello, "mine/go.mod": goMod + "require example.com/lib v0.0.0\nreplace example.com/lib => ../lib\n"})},
		"go.work":             {files: with(lib, tree{"mine/main.go": uses, "go.work": "go 1.25\n\nuse (\n\t./mine\n\t./lib\n\t./other\n)\n", "other/go.mod": "module example.com/other\n\ngo 1.25\n"}), says: "lib"},
		"vendor": {files: tree{
			"mine/main.go": uses, "mine/go.mod": goMod + "require example.com/lib v1.0.0\n", "mine/vendor/example.com/lib/say/say.go": lib["lib/say/say.go"],
			"mine/vendor/modules.txt": "# example.com/lib v1.0.0\n## explicit; go 1.25\nexample.com/lib/say\n",
		}},
		"C": {files: tree{"mine/main.go": "package main\n\n// #include <stdio.h>\n// static void hello(void) { fputs(\"hello\", stderr); }\nimport \"C\"\n\nfunc main() { C.hello() }\n"}, cgo: true},
		"C of a larger module": {files: tree{
			"mine/cmd/x/main.go":   "package main\n\n// #cgo CFLAGS: -I${SRCDIR}/../../include\n// #include \"hello.h\"\nimport \"C\"\n\nfunc main() { C.hello() }\n",
			"mine/include/hello.h": "#include <stdio.h>\nstatic void hello(void) { fputs(\"hello\", stderr); }\n",
		}, dir: "mine/cmd/x", cgo: true},
		"C in a replaced module": {files: tree{
			"mine/go.mod": goMod + "require example.com/lib v0.0.0\nreplace example.com/lib => ../lib\n", "mine/main.go": uses, "lib/go.mod": lib["lib/go.mod"],
			"lib/say/say.go": "package say\n\n// #include \"c/hello.h\"\nimport \"C\"\n\nfunc Hello() { C.hello() }\n", "lib/say/c/hello.h": "#include <stdio.h>\nstatic void hello(void) { fputs(\"hello\", stderr); }\n",
		}, cgo: true, says: "lib"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cgo && (!haveC() || runtime.GOOS != "linux") {
				t.Skip("there is no C compiler that can be confined")
			}
			ownCache(t)
			dir := t.TempDir()
			tree{"mine/go.mod": goMod}.write(t, dir)
			if c.files["mine/go.mod"] != "" {
				if err := os.Remove(filepath.Join(dir, "mine/go.mod")); err != nil {
					t.Fatal(err)
				}
			}
			c.files.write(t, dir)
			folder := filepath.Join(dir, "mine")
			if c.dir != "" {
				folder = filepath.Join(dir, c.dir)
			}
			began, want := 0, []string(nil)
			if c.says != "" {
				want = []string{filepath.Join(dir, c.says)}
			}
			var outside []string
			o := gobuild.Options{Cgo: c.cgo, Began: func() { began++ }, Outside: func(modules []string) { outside = append(outside, modules...) }}
			for range 2 { // the second build finds the executable of the first
				path, err := gobuild.Build(t.Context(), folder, o)
				if err != nil {
					t.Fatalf("got the error %v", err)
				}
				if out, err := exec.Command(path).CombinedOutput(); err != nil || string(out) != "hello" {
					t.Errorf("got %q and %v, want hello", out, err)
				}
			}
			if !slices.Equal(outside, want) {
				t.Errorf("got sources from %q, want %q, said once", outside, want)
			}
			if began == 0 {
				t.Error("nobody was told that the build began")
			}
		})
	}
}

// A folder that was built before may later name modules outside of it, for example after git pull. Outside is called then.
func TestModulesOutsideThatComeLaterAreSaid(t *testing.T) {
	ownCache(t)
	dir := t.TempDir()
	tree{"mine/go.mod": goMod, "mine/main.go": "package main\n\nfunc main() {}\n", "lib/go.mod": "module example.com/lib\n\ngo 1.25\n", "lib/say/say.go": "package say\n\nfunc Hello() { print(\"hello\") }\n"}.write(t, dir)
	var outside []string
	o := gobuild.Options{Outside: func(modules []string) { outside = append(outside, modules...) }}
	for n, files := range []tree{
		{}, {
			"mine/main.go": "package main\n\nimport \"example.com/lib/say\"\n\nfunc main() { say.Hello() }\n",
			"mine/go.mod":  goMod + "require example.com/lib v0.0.0\nreplace example.com/lib => ../lib\n",
		}, {},
	} {
		for name := range files {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		files.write(t, dir)
		if _, err := gobuild.Build(t.Context(), filepath.Join(dir, "mine"), o); err != nil {
			t.Fatal(err)
		}
		if want := min(n, 1); len(outside) != want {
			t.Errorf("after build %d: got sources from %q, want %d folders, each said once", n+1, outside, want)
		}
	}
}

// A plugin's modules lie in the module cache, together with modules that the plugin does not use.
func TestModulesOfTheCacheAreBuilt(t *testing.T) {
	ownCache(t)
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module github.com/parhost/parhost\n", "module example.com/plugin\n", 1)
	dir := t.TempDir()
	tree{
		"go.mod": text + "\nrequire github.com/parhost/parhost v0.0.0\n\nreplace github.com/parhost/parhost => " + root + "\n", "go.sum": string(sums),
		"main.go": "package main\n\nimport (\n\t\"context\"\n\n\t\"github.com/parhost/parhost/sdk\"\n)\n\nfunc main() {\n\tsdk.Serve(sdk.Func(\"x\", func(_ context.Context, x float64) (float64, error) { return x, nil }))\n}\n",
	}.write(t, dir)
	if _, err := gobuild.Build(t.Context(), dir, gobuild.Options{}); err != nil {
		t.Errorf("got the error %v", err)
	}
}

// Symbolic links make an endless number of paths out of three names. The build looks only at paths that Go takes for modules.
func TestModulesWithinOneAnotherAreBuilt(t *testing.T) {
	for name, lines := range map[string]string{
		"in a comment":     "\n// ./a ./b ./c\n",
		"as replacements":  "\nreplace (\n\texample.com/a => ./a\n\texample.com/b => ./b\n\texample.com/c => ./c\n)\n",
		"in other modules": "\nreplace example.com/a => ./mod\n",
	} {
		t.Run(name, func(t *testing.T) {
			ownCache(t)
			dir := t.TempDir()
			tree{
				"go.mod": goMod + lines, "main.go": "package main\n\nfunc main() {}\n", "a": "-> .", "b": "-> .", "c": "-> .",
				"mod/go.mod": "module example.com/a\n\nreplace (\n\texample.com/a => ./a\n\texample.com/b => ./b\n\texample.com/c => ./c\n)\n", "mod/a": "-> .", "mod/b": "-> .", "mod/c": "-> .",
			}.write(t, dir)
			done := make(chan error, 1)
			go func() {
				_, err := gobuild.Build(t.Context(), dir, gobuild.Options{})
				done <- err
			}()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("got the error %v", err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("the build looks for modules for ever")
			}
		})
	}
}

func TestCIsRefusedUnlessAskedFor(t *testing.T) {
	ownCache(t)
	dir := t.TempDir()
	tree{"go.mod": goMod, "main.go": "package main\n\nimport _ \"example.com/plugin/c\"\n\nfunc main() {}\n", "c/c.go": "package c\n\n// int x;\nimport \"C\"\n", "c/not.go": "//go:build !cgo\n\npackage c\n"}.write(t, dir)
	for _, value := range []string{"", "1"} {
		t.Setenv("CGO_ENABLED", value)
		_, err := gobuild.Build(t.Context(), dir, gobuild.Options{})
		c, ok := errors.AsType[*gobuild.CError](err)
		if !ok || !slices.Equal(c.Packages, []string{"example.com/plugin/c"}) {
			t.Errorf("CGO_ENABLED=%s: got the error %v, want the package that has C in it", value, err)
		}
	}
	t.Setenv("CGO_ENABLED", "0")
	if _, err := gobuild.Build(t.Context(), dir, gobuild.Options{}); err != nil {
		t.Errorf("CGO_ENABLED=0: got the error %v, want it built without", err)
	}
}

// The executable is replaced in one step, while other goroutines build and run it.
func TestBuildsOfOneFolderMayRunAtOnce(t *testing.T) {
	ownCache(t)
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // a file system other than that of the cache
		t.Setenv("TMPDIR", "/dev/shm")
	}
	dir := t.TempDir()
	var running sync.WaitGroup
	for round := range 3 {
		tree{"go.mod": goMod, "main.go": "package main\n\nfunc main() { print(\"hello\", " + string(rune('0'+round)) + ") }\n"}.write(t, dir)
		for range 6 {
			running.Go(func() {
				path, err := gobuild.Build(t.Context(), dir, gobuild.Options{})
				if err != nil {
					t.Errorf("got the error %v", err)
					return
				}
				if out, err := exec.Command(path).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "hello") {
					t.Errorf("got %q and %v, want hello", out, err)
				}
			})
		}
		running.Wait()
	}
}
