package seatbelt_test

import (
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/parhost/parhost/host/sandbox/internal/seatbelt"
)

// A node is a word, a quoted text, or a list.
type node struct {
	word   string
	quoted bool
	list   []node // nil for words and texts
}

// read parses a sequence of S-expressions as TinyScheme does, on which sandbox-exec's reader is based.
func read(text string) ([]node, error) {
	forms, rest, err := readList(text)
	if err == nil && rest != "" {
		err = errors.New("a parenthesis too many")
	}
	return forms, err
}

func readList(text string) (list []node, rest string, err error) {
	list = []node{}
	for {
		text = strings.TrimLeft(text, " \n\t")
		switch {
		case text == "" || text[0] == ')':
			return list, text, nil
		case text[0] == '(':
			inner, rest, err := readList(text[1:])
			if err != nil {
				return nil, "", err
			}
			if rest == "" {
				return nil, "", errors.New("a parenthesis too few")
			}
			list, text = append(list, node{list: inner}), rest[1:]
		case text[0] == '"':
			s, rest, err := readText(text[1:])
			if err != nil {
				return nil, "", err
			}
			list, text = append(list, node{word: s, quoted: true}), rest
		default:
			end := strings.IndexAny(text, " \n\t()\"")
			if end < 0 {
				end = len(text)
			}
			list, text = append(list, node{word: text[:end]}), text[end:]
		}
	}
}

func readText(text string) (s, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return b.String(), text[i+1:], nil
		case '\\':
			return "", "", errors.New("an escape, of which our own texts have none")
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errors.New("a text without an end")
}

// profile returns the rules in arguments of sandbox-exec, with the parameters replaced by their values.
func profile(t *testing.T, args []string) []node {
	t.Helper()
	values := map[string]string{}
	for len(args) > 2 && args[0] == "-D" {
		key, value, _ := strings.Cut(args[1], "=")
		if _, twice := values[key]; twice {
			t.Errorf("parameter %s has two values", key)
		}
		values[key], args = value, args[2:]
	}
	if len(args) != 3 || args[0] != "-p" || args[2] != "--" {
		t.Fatalf("got the arguments %q after the parameters, want -p, a profile and --", args)
	}
	forms, err := read(args[1])
	if err != nil {
		t.Fatalf("the profile has %v:\n%s", err, args[1])
	}
	var put func(n node) node
	put = func(n node) node {
		if len(n.list) == 2 && n.list[0].word == "param" {
			value, ok := values[n.list[1].word]
			if !ok {
				t.Errorf("parameter %q has no value", n.list[1].word)
			}
			return node{word: value, quoted: true}
		}
		for i := range n.list {
			n.list[i] = put(n.list[i])
		}
		return n
	}
	for i := range forms {
		forms[i] = put(forms[i])
	}
	return forms
}

// An opening is one operation that a rule allows or denies for one path.
type opening struct{ action, operation, filter, path string }

// openings returns the openings of a profile. A filter inside others, as in (require-all (subpath "/x") …), counts by itself.
func openings(rules []node) map[opening]bool {
	all := map[opening]bool{}
	for _, r := range rules {
		action := r.list[0].word
		var operations []string
		var walk func(n node)
		walk = func(n node) {
			if len(n.list) > 1 && n.list[1].quoted {
				for _, v := range n.list[1:] {
					for _, op := range operations {
						all[opening{action, op, n.list[0].word, v.word}] = true
					}
				}
			}
			for _, inner := range n.list {
				walk(inner)
			}
		}
		for _, n := range r.list[1:] {
			if n.list == nil {
				operations = append(operations, n.word)
			} else {
				walk(n)
			}
		}
	}
	return all
}

func plain() *seatbelt.Profile {
	return &seatbelt.Profile{Executable: "/opt/x/plugin", Sockets: "/private/tmp/sockets"}
}

func full() *seatbelt.Profile {
	return &seatbelt.Profile{
		Executable: "/opt/x/plugin", Interpreters: []string{"/opt/python/bin/python3"}, Sockets: "/private/tmp/sockets",
		ReadOnly: []string{"/opt/python", "/Users/a/in"}, ReadWrite: []string{"/Users/a/out"}, Links: []string{"/tmp/out"}, Net: true, Fork: true, Loader: true,
	}
}

// The expected profiles are in files, because people should read them.
func TestProfiles(t *testing.T) {
	for name, p := range map[string]*seatbelt.Profile{"plain": plain(), "full": full()} {
		t.Run(name, func(t *testing.T) {
			args, err := p.Arguments()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".sb")
			got := args[len(args)-2]
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s: the profile differs (-want +got):\n%s", file, diff)
			}
		})
	}
}

// A plain profile does not allow what is denied by default.
func TestAPlainProfileOpensLittle(t *testing.T) {
	args, err := plain().Arguments()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range profile(t, args) {
		for _, n := range r.list[1:] {
			for _, never := range []string{"network-outbound", "network*", "process-fork", "mach-", "file-link", "file-write*", "ipc-", "iokit-", "sysctl-write"} {
				if r.list[0].word == "allow" && strings.HasPrefix(n.word, never) {
					t.Errorf("got the rule %v, want nothing that allows %s", r, never)
				}
			}
		}
		if r.list[0].word == "allow" && !slices.ContainsFunc(r.list, func(n node) bool { return n.list != nil }) {
			t.Errorf("got the rule %v, which allows something without a filter", r)
		}
	}
}

// FuzzArguments checks that a path of any kind is only ever used as a path.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		"plugin", `a"b`, `a\`, `")) (allow default) ((literal "`, "a)b(c", "a\nb", ";", "#|", `#"x"`, "\x00", "\xff", "P0=/", "=", `(param "P1")`, "ü", "..", "a//b", "a/../../b",
	} {
		f.Add(s, "in", false, false)
		f.Add("plugin", s, true, true)
	}
	f.Fuzz(func(t *testing.T, a, b string, network, fork bool) {
		p := seatbelt.Profile{
			Executable: "/x/" + a, Sockets: "/s/" + b, ReadOnly: []string{"/r/" + b, "/r/" + a}, ReadWrite: []string{"/w/" + a}, Links: []string{"/l/" + b}, Net: network, Fork: fork,
		}
		args, err := p.Arguments()
		paths := slices.Concat([]string{p.Executable, p.Sockets}, p.ReadOnly, p.ReadWrite, p.Links)
		bad := slices.ContainsFunc(paths, func(s string) bool {
			return path.Clean(s) != s || !utf8.ValidString(s) || strings.ContainsRune(s, 0)
		})
		if bad != (err != nil) {
			t.Fatalf("got the error %v for %q, want one: %v", err, paths, bad)
		}
		if bad {
			return
		}
		got := openings(profile(t, args))

		bare := seatbelt.Profile{Executable: "/B", Sockets: "/B", Net: network, Fork: fork}
		args, err = bare.Arguments()
		if err != nil {
			t.Fatal(err)
		}
		want := openings(profile(t, args))
		maps.DeleteFunc(want, func(o opening, _ bool) bool { return o.path == "/B" })
		add := func(action, operations, filter string, paths ...string) {
			for op := range strings.FieldsSeq(operations) {
				for _, s := range paths {
					want[opening{action, op, filter, s}] = true
				}
			}
		}
		add("allow", "file-read* file-map-executable process-exec*", "literal", p.Executable)
		add("allow", "file-read* file-write-data file-write-unlink file-write-mode file-write-create network-bind network-inbound", "subpath", p.Sockets)
		add("allow", "file-read* file-map-executable", "subpath", p.ReadOnly...)
		if fork {
			add("allow", "process-exec*", "subpath", p.ReadOnly...)
		}
		add("deny", "file-map-executable process-exec*", "subpath", p.ReadWrite...)
		add("allow", "file-read* file-write-create file-write-data file-write-flags file-write-mode file-write-times file-write-unlink file-write-xattr", "subpath", p.ReadWrite...)
		add("allow", "file-read-metadata", "literal", append(p.Links, "/")...)
		for _, s := range paths {
			for dir := path.Dir(s); dir != "/"; dir = path.Dir(dir) {
				add("allow", "file-read-metadata", "literal", dir)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: openings differ (-want +got):\n%s", paths, diff)
		}
	})
}
