package main

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A plugin that parhost builds itself runs in a sandbox without library files, unless the user wants its C code. The Go settings in the environment
// apply to all builds.
func TestBuildLinksStatically(t *testing.T) {
	for key, value := range goEnv() {
		t.Setenv(key, value)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for name, c := range map[string]struct {
		source, env  string
		cgo, dynamic bool
	}{
		"the standard library's C": {source: "import (\n_ \"net\"\n_ \"os/user\"\n)"},
		"C of its own":             {source: "// static int one(void) { return 1; }\nimport \"C\"\nvar _ = C.one()", cgo: true, dynamic: true},
		"the environment's word":   {source: "import _ \"net\"", env: "1"},
		"the user's word":          {source: "import _ \"net\"", cgo: true, dynamic: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CGO_ENABLED", c.env)
			if c.env == "" {
				if err := os.Unsetenv("CGO_ENABLED"); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			for file, text := range map[string]string{
				"go.mod": "module example.com/plugin\n\ngo 1.26\n", "main.go": "package main\n" + c.source + "\nfunc main() {}\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			path, err := building{cgo: c.cgo}.build(t.Context(), dir)
			if err != nil {
				t.Fatalf("got the error %v", err)
			}
			image, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer image.Close()
			if got := slices.ContainsFunc(image.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }); got != c.dynamic {
				t.Errorf("got an executable that is linked dynamically: %v, want %v", got, c.dynamic)
			}
		})
	}
}
