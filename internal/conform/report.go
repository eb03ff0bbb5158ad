package conform

// Status says how a check ended.
type Status string

// The values of Status.
const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped" // the promise does not apply, or the check had nothing to run it with
)

// Check is one promise, and whether the worker keeps it.
type Check struct {
	Name    string `json:"name"`
	Promise string `json:"promise"`
	Status  Status `json:"status"`
	Outcome string `json:"outcome"` // what the check saw, in one line
}

// Report holds the outcome of all checks of one workload, in the order in which they ran.
type Report struct {
	Name    string  `json:"name"`
	Version string  `json:"version,omitempty"`
	SDK     string  `json:"sdk,omitempty"`
	Checks  []Check `json:"checks"`
}

// Failed returns the number of broken promises.
func (r *Report) Failed() int { return r.Count(Failed) }

// Count returns the number of checks that ended with status s.
func (r *Report) Count(s Status) int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == s {
			n++
		}
	}
	return n
}
