package gobuild_test

import (
	"errors"
	"testing"

	"github.com/parhost/parhost/internal/gobuild"
)

func TestIncludesOfOtherFoldersAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		header  string
		refused bool
	}{
		"none":                        {"// #include \"../x.h\"\n/* include \"../x.h\" */\n#define include_me 1\n", false},
		"Go's":                        {"#include \"textflag.h\"\n#include \"go_asm.h\"\n", false},
		"one of the folder":           {"#include \"c.h\"\n", false},
		"absolute":                    {"#include \"/etc/passwd\"\n", true},
		"upwards":                     {"#include \"../x.h\"\n", true},
		"below":                       {"#include \"x/x.h\"\n", true},
		"escaped":                     {"#include \"\\x2e\\x2e\\x2fx.h\"\n", true},
		"with blanks and comments":    {" # include /* */ \"../x.h\"\n", true},
		"by a macro":                  {"#define NAME \"../x.h\"\n#include NAME\n", true},
		"made by a macro":             {"#define I(a, b) #a b\nI(include, \"../x.h\")\n", true},
		"a file that is no source":    {"#include \"key.txt\"\n", true},
		"a link that is not a header": {"#include \"link.txt\"\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			ownCache(t)
			dir := t.TempDir()
			tree{
				"go.mod": goMod, "main.go": "package main\n\nfunc main() {}\n", "a.s": "#include \"b.h\"\n", "b.h": c.header, "c.h": "", "key.txt": "", "link.txt": "-> /etc/passwd",
			}.write(t, dir)
			if err := gobuild.CheckIncludes(t.Context(), dir); errors.Is(err, gobuild.ErrOutside) != c.refused || !c.refused && err != nil {
				t.Errorf("got the error %v, want it refused: %v", err, c.refused)
			}
		})
	}
}
