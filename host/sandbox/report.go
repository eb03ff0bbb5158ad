package sandbox

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Layer is one feature that a sandbox uses, or one level.
type Layer struct {
	Name string
	OK   bool
	Fact string // what this machine has, or why it has nothing
	Hint string // how to get the feature; empty if it is there
}

// Report says which sandbox features this machine has.
type Report struct {
	Layers []Layer
	Levels []Layer // for each level, whether a process could really be started at it
	Best   Level
}

// Write writes the report as a table.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range append(append([]Layer(nil), r.Layers...), r.Levels...) {
		state := "yes"
		if !l.OK {
			state = "no"
		}
		if _, err := fmt.Fprintf(t, "%s\t%s\t%s\n", l.Name, state, l.Fact); err != nil {
			return err
		}
		if l.Hint != "" {
			if _, err := fmt.Fprintf(t, "\t\t→ %s\n", l.Hint); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintf(t, "best level\t%s\n", r.Best); err != nil {
		return err
	}
	return t.Flush()
}
