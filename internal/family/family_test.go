package family_test

import (
	"math"
	"strings"
	"testing"

	"github.com/parhost/parhost/internal/family"
)

func number(want uint32) func(uint32) bool { return func(got uint32) bool { return got == want } }

func TestAnEnvironmentIsAMemberByItsVariable(t *testing.T) {
	t.Setenv(family.Env, "")
	n, other := family.New(), family.New()
	mark := n.Variable(7)
	for name, c := range map[string]struct {
		environ string
		of      func(uint32) bool
		want    bool
	}{
		"alone":                    {mark, nil, true},
		"among others":             {"A=b\x00" + mark + "\x00C=d\x00", nil, true},
		"of the number":            {mark, number(7), true},
		"of another number":        {mark, number(8), false},
		"of another family":        {other.Variable(7), nil, false},
		"of a family in it":        {mark + "," + strings.TrimPrefix(other.Variable(1), family.Env+"="), number(7), true},
		"of a family around it":    {other.Variable(1) + "," + strings.TrimPrefix(mark, family.Env+"="), number(7), true},
		"in another variable":      {"X" + mark, nil, false},
		"within a variable":        {"A=" + mark, nil, false},
		"without a number":         {strings.TrimSuffix(mark, ".7"), nil, false},
		"with what is no number":   {mark + "x", nil, false},
		"with a number too large":  {n.Variable(family.Numbers), nil, false},
		"cut off before the digit": {strings.TrimSuffix(mark, "7"), nil, false},
		"empty":                    {"", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (family.Search{Name: n, Of: c.of}).InEnvironment(c.environ); got != c.want {
				t.Errorf("%q: got %t, want %t", c.environ, got, c.want)
			}
		})
	}
}

func TestALimitIsAMark(t *testing.T) {
	n := family.New()
	for name, c := range map[string]struct {
		limit uint64
		of    func(uint32) bool
		want  bool
	}{
		"of any number":     {n.Limit(7), nil, true},
		"of the number":     {n.Limit(family.Numbers - 1), number(family.Numbers - 1), true},
		"of another number": {n.Limit(7), number(8), false},
		"of another family": {family.New().Limit(7), nil, false},
		"no limit":          {math.MaxUint64, nil, false},
		"a common limit":    {200_000, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (family.Search{Name: n, Of: c.of}).InLimit(c.limit); got != c.want {
				t.Errorf("%#x: got %t, want %t", c.limit, got, c.want)
			}
		})
	}
	if years := n.Limit(0) / 1_000_000 / 3600 / 24 / 366; years < 100_000 {
		t.Errorf("the limit is %d years, want more than anybody computes", years)
	}
}

func TestAFamilyKnowsItself(t *testing.T) {
	t.Setenv(family.Env, "")
	if n, _, ok := family.Own(); ok {
		t.Errorf("a process without a mark: got the family %v, want none", n)
	}
	outer, inner := family.New(), family.New()
	for i, n := range []family.Name{outer, inner} { // the second host is a worker of the first one
		_, value, _ := strings.Cut(n.Variable(uint32(i)), "=")
		t.Setenv(family.Env, value)
		got, number, ok := family.Own()
		if !ok || got != n || number != uint32(i) {
			t.Errorf("got %v.%d, %t, want %v.%d", got, number, ok, n, i)
		}
	}
	if environ := inner.Variable(1); !(family.Search{Name: outer}).InEnvironment(environ) {
		t.Errorf("%q: got no member of the outer family, want one", environ)
	}
}
