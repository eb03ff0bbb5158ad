package arch

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// public are the packages that programs may import.
var public = []string{"protocol", "sdk", "sdk/sdktest", "host", "host/joblog", "host/dossier", "host/history", "host/dashboard", "host/telemetry/metrics", "host/telemetry/perfetto", "host/telemetry/tracing", "host/sandbox", "host/cluster", "host/cluster/server"}

// load returns the types of our public packages, by path.
func load(t *testing.T) map[string]*types.Package {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}
	for _, p := range public {
		args = append(args, module+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		files[path] = file
	}
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	loaded := map[string]*types.Package{}
	for _, p := range public {
		pkg, err := from.Import(module + p)
		if err != nil {
			t.Fatal(err)
		}
		loaded[p] = pkg
	}
	return loaded
}

// A type of an internal package has no documentation that a user can read.
func TestNoInternalTypeIsPublic(t *testing.T) {
	for path, pkg := range load(t) {
		for _, name := range pkg.Scope().Names() {
			if o := pkg.Scope().Lookup(name); o.Exported() {
				for _, leak := range leaks(o) {
					t.Errorf("%s.%s %s", path, name, leak)
				}
			}
		}
	}
}

// leaks returns the types of internal packages that a reader meets in the declaration of o, one step deep, and in its exported fields and methods.
func leaks(o types.Object) (found []string) {
	look := func(where string, t types.Type) {
		for _, n := range named(t) {
			if p := n.Obj().Pkg(); p != nil && strings.HasPrefix(p.Path(), module) && slices.Contains(strings.Split(p.Path(), "/"), "internal") {
				found = append(found, fmt.Sprintf("has %s of type %s.%s", where, p.Path(), n.Obj().Name()))
			}
		}
	}
	if _, isType := o.(*types.TypeName); !isType {
		look("something", o.Type())
		return found
	}
	t := types.Unalias(o.Type())
	look("itself", t)
	switch u := t.Underlying().(type) {
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() {
				look("field "+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range u.ExplicitMethods() {
			if m.Exported() {
				look("method "+m.Name(), m.Type())
			}
		}
	default:
		look("something", u)
	}
	if n, ok := t.(*types.Named); ok {
		for m := range n.Methods() {
			if m.Exported() {
				look("method "+m.Name(), m.Type())
			}
		}
	}
	return found
}

// named returns the named types in t, without looking into them.
func named(t types.Type) []*types.Named {
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		all := []*types.Named{t}
		for a := range t.TypeArgs().Types() {
			all = append(all, named(a)...)
		}
		return all
	case interface{ Elem() types.Type }: // a pointer, slice, array, channel or map
		all := named(t.Elem())
		if m, ok := t.(*types.Map); ok {
			all = append(all, named(m.Key())...)
		}
		return all
	case *types.Signature:
		var all []*types.Named
		for v := range t.Params().Variables() {
			all = append(all, named(v.Type())...)
		}
		for v := range t.Results().Variables() {
			all = append(all, named(v.Type())...)
		}
		return all
	default:
		return nil
	}
}

// go doc does not show the fields of a type that an alias stands for, so the comment of the alias has them.
func TestAliasesShowTheirFields(t *testing.T) {
	for path, pkg := range load(t) {
		for _, name := range pkg.Scope().Names() {
			o, ok := pkg.Scope().Lookup(name).(*types.TypeName)
			if !ok || !o.Exported() || !o.IsAlias() {
				continue
			}
			s, ok := o.Type().Underlying().(*types.Struct)
			if !ok {
				continue
			}
			doc, err := exec.Command("go", "doc", module+path, name).Output()
			if err != nil {
				t.Fatalf("go doc %s.%s: %v", path, name, err)
			}
			for f := range s.Fields() {
				listed := regexp.MustCompile(`(?m)^        (\w+, )*` + f.Name() + `(, \w+)* +\S`) // a line of the list, not of the text
				if f.Exported() && !listed.Match(doc) {
					t.Errorf("%s.%s: its comment does not show field %s", path, name, f.Name())
				}
			}
		}
	}
}
