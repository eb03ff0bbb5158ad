package sleep

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is one item: how long to sleep, from 0 to [Max], in whole nanoseconds.
//
// In JSON it is a number of seconds (0.2) or a string with units in the syntax of [time.ParseDuration] ("200ms", "1m30s"). It is written as a number
// of seconds, which reads as the same duration again.
type Duration time.Duration

// Max is the longest sleep: one day. A longer sleep is probably a mistake in the unit.
const Max = Duration(24 * time.Hour)

// Schema is the JSON Schema of a [Duration].
const Schema = `{"anyOf": [
  {"type": "number", "minimum": 0, "maximum": 86400, "description": "seconds"},
  {"type": "string", "description": "a number with a unit, such as \"200ms\" or \"1.5s\""}
]}`

// UnmarshalJSON reads a number of seconds or a string with units. It rounds a number to the nearest nanosecond.
//
// The error quotes the value as it was written; if it is too long, the error names the limit too.
func (d *Duration) UnmarshalJSON(data []byte) error {
	written := strings.TrimSpace(string(data))
	var read Duration
	var err error
	if strings.HasPrefix(written, `"`) {
		read, err = fromText(written)
	} else {
		read, err = fromSeconds(written)
	}
	if err != nil {
		return err
	}
	*d = read
	return nil
}

// MarshalJSON writes the duration as a number of seconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(d.Seconds())
}

// Seconds returns d in seconds: the nearest float64, which prints with at most nine digits after the decimal point.
func (d Duration) Seconds() float64 {
	return float64(d) / 1e9
}

// String returns d with units, such as 200ms.
func (d Duration) String() string {
	return time.Duration(d).String()
}

func fromSeconds(written string) (Duration, error) {
	seconds, err := strconv.ParseFloat(written, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), math.IsNaN(seconds):
		return 0, fmt.Errorf(`sleep is %s, want seconds (0.2) or a string with a unit ("200ms")`, abbreviate(written))
	case seconds < 0:
		return 0, negative(abbreviate(written))
	case seconds > Max.Seconds():
		return 0, tooLong(abbreviate(written))
	}
	return Duration(math.Round(seconds * 1e9)), nil
}

func fromText(written string) (Duration, error) {
	var text string
	if err := json.Unmarshal([]byte(written), &text); err != nil {
		return 0, err
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf(`sleep is %s, want a string with a unit ("200ms") or seconds (0.2)`, abbreviate(written))
	}
	return Duration(parsed), Duration(parsed).check(written)
}

// check returns an error unless d is from 0 to Max. written is d as the user wrote it.
func (d Duration) check(written string) error {
	switch {
	case d < 0:
		return negative(written)
	case d > Max:
		return tooLong(written)
	}
	return nil
}

func negative(written string) error {
	return fmt.Errorf("sleep is %s: the time is negative", written)
}

func tooLong(written string) error {
	return fmt.Errorf("sleep is %s, the limit is %v seconds (%v)", written, Max.Seconds(), Max)
}

// abbreviate shortens a long text for an error message.
func abbreviate(text string) string {
	const limit = 40
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
