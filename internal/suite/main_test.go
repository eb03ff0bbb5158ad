package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestThePageNamesTestsThatAreThere(t *testing.T) {
	rows, err := readRows(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	named := false
	for _, r := range rows {
		named = named || slices.Contains(r.tests, attempts)
	}
	if len(rows) < 20 || !named {
		t.Errorf("got %d rows, %s among them: %v; want all of the table", len(rows), attempts, named)
	}
}

func TestARowThatNoTestShowsIsAnError(t *testing.T) {
	const head = "text | of it\n\n| the plugin tries to | off | test |\n|---|---|---|\n"
	for name, c := range map[string]struct {
		page, want string
		rows       int
	}{
		"two rows, and another table": {head + "| a | no | TestA, FuzzB |\n| b | no | TestA |\n\n| c | d |\n|---|---|\n| e | TestNone |\n", "", 2},
		"a test that is not there":    {head + "| a | no | TestA, TestNone |\n", `row "a": there is no test "TestNone"`, 0},
		"no test":                     {head + "| a | no | |\n", `row "a": there is no test ""`, 0},
		"words":                       {head + "| a | no | see above |\n", `there is no test "see above"`, 0},
		"no table":                    {"# Sandbox\n", "has no table", 0},
		"a table without rows":        {head, "has no table", 0},
	} {
		rows, err := readRows(fstest.MapFS{
			page:                      {Data: []byte(c.page)},
			"host/a_test.go":          {Data: []byte("package a\n\nfunc TestA(t *testing.T) {}\n\nfunc FuzzB(f *testing.F) {}\n")},
			"host/a_linux_test.go":    {Data: []byte("package a\n\nfunc TestA(t *testing.T) {}\n")},
			".bin/x/a_test.go":        {Data: []byte("func TestNone(t *testing.T) {}\n")},
			"host/testdata/a_test.go": {Data: []byte("func TestNone(t *testing.T) {}\n")},
		})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || len(rows) != c.rows {
			t.Errorf("%s: got %d rows and the error %v, want %d and %q", name, len(rows), err, c.rows, c.want)
		}
		for _, r := range rows {
			if dirs := r.homes["TestA"]; !slices.Equal(dirs, []string{"./host"}) {
				t.Errorf("%s: got TestA in %q, want it in one folder", name, dirs)
			}
		}
	}
}

// The table shows neither a failed test nor one that did not run as passed.
func TestTheTableSaysWhatCameOfEachTest(t *testing.T) {
	var rows []row
	a := &account{name: "me", results: map[string]*result{}}
	for _, name := range []string{attempts, "TestGood", "TestBad", "TestPart", "TestLost"} {
		rows = append(rows, row{what: name, tests: []string{name}})
		a.results[name] = &result{}
	}
	a.collect([]byte(`{"Action":"start"}
{"Action":"output","Test":"TestAttempts","Output":"all of them\n"}
{"Action":"pass","Test":"TestAttempts"}
{"Action":"pass","Test":"TestGood"}
{"Action":"output","Test":"TestBad/one","Output":"    a_test.go:1: it came through\n"}
{"Action":"fail","Test":"TestBad/one"}
{"Action":"fail","Test":"TestBad"}
{"Action":"output","Test":"TestPart/basic","Output":"    a_test.go:2: no such: thing\n"}
{"Action":"output","Test":"TestPart/basic","Output":"    --- SKIP: TestPart/basic (0.00s)\n"}
{"Action":"skip","Test":"TestPart/basic"}
{"Action":"pass","Test":"TestPart"}
{"Action":"pass","Test":"TestLost/one"}
panic
{"Action":"fail","Test":"TestOther"}
`))
	var out strings.Builder
	if err := show(&out, rows, []*account{a}); err == nil {
		t.Error("got no error, want one for the tests that failed or were lost")
	}
	for name, want := range map[string]string{
		"TestGood": "ok", "TestBad": "TestBad failed", "TestPart": "TestPart/basic skipped: no such: thing", "TestLost": "TestLost did not run to its end",
	} {
		if line := " " + name + "  " + name; !strings.Contains(strings.Join(strings.Fields(out.String()), " "), name+" "+name+" "+want) {
			t.Errorf("got\n%s\nwant %s with %s", &out, line, want)
		}
	}
	for _, want := range []string{"TestAttempts as me:\nall of them\n", "TestBad as me:\n    a_test.go:1: it came through\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q", &out, want)
		}
	}
}
