package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWithoutGoANewPluginIsMadeAllTheSame(t *testing.T) {
	t.Setenv("PATH", "")
	dir := filepath.Join(t.TempDir(), "mean")
	err := makePlugin(t.Context(), &streams{out: &screen{stream: io.Discard}}, newOptions{name: "mean", dir: dir})
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitFailed || !strings.Contains(exit.Error(), "there is no go command") || !strings.Contains(exit.hint, "go get -t") {
		t.Errorf("got %v, want exit code 1 and what to do", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "main.go")); err != nil {
		t.Error(err)
	}
}

func TestANewPluginInsideTheWorkTreeFindsItRelatively(t *testing.T) {
	for name, c := range map[string]struct{ dir, source, want string }{
		"inside":        {"/src/parhost/x", "/src/parhost", ".."},
		"deeper inside": {"/src/parhost/a/x", "/src/parhost", "../.."},
		"beside":        {"/src/x", "/src/parhost", "/src/parhost"},
		"with a space":  {"/x", "/my src/parhost", `"/my src/parhost"`},
	} {
		t.Run(name, func(t *testing.T) {
			if filepath.Separator != '/' {
				t.Skip("the paths are those of Unix")
			}
			if got := replacement(c.dir, c.source); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAReleasedVersionIsRequiredAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		build buildFacts
		want  bool
	}{
		"a version":                   {buildFacts{Version: "v1.2.3"}, true},
		"a commit that was fetched":   {buildFacts{Version: "v0.0.0-20260101000000-abcdefabcdef"}, true},
		"a work tree":                 {buildFacts{Version: "(devel)"}, false},
		"a work tree with its commit": {buildFacts{Version: "v0.0.0-20260101000000-abcdefabcdef", Commit: "abcdef"}, false},
		"a changed work tree":         {buildFacts{Version: "v1.2.3+dirty", Commit: "abcdef", Modified: true}, false},
	} {
		if got := c.build.released(); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestABadNameLeadsToAGoodOne(t *testing.T) {
	for text, want := range map[string]string{"my plugin": "my-plugin", "./mean": "mean", "größe": "gr-e", "..": "my-plugin", "-x-": "x", "a/b": "b"} {
		if got := likeName(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
