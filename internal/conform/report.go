package conform

// Status is what became of a check.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Failed  Status = "failed"
	Skipped Status = "skipped" // the promise does not apply, or nothing was there to check it with
)

// Check is one promise and whether it is kept.
type Check struct {
	Name    string `json:"name"`
	Promise string `json:"promise"`
	Status  Status `json:"status"`
	Outcome string `json:"outcome"` // what was seen, in one line
}

// Report is the outcome of all checks of one workload, in the order in which they ran.
type Report struct {
	Name    string  `json:"name"`
	Version string  `json:"version,omitempty"`
	SDK     string  `json:"sdk,omitempty"`
	Checks  []Check `json:"checks"`
}

// Failed returns the number of promises that are not kept.
func (r *Report) Failed() int { return r.Count(Failed) }

// Count returns the number of checks that ended in a status.
func (r *Report) Count(s Status) int {
	n := 0
	for _, c := range r.Checks {
		if c.Status == s {
			n++
		}
	}
	return n
}
