package sandbox

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Layer is one thing of which sandboxes are built.
type Layer struct {
	Name string
	OK   bool
	Fact string // what there is, or why there is nothing
	Hint string // what to change to get it, empty if it is there
}

// Report says what this machine has for sandboxes.
type Report struct {
	Layers []Layer
	Levels []Layer // of a level: whether a process was really started at it
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
