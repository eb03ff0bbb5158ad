package sleep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestDurationReads(t *testing.T) {
	for written, want := range map[string]time.Duration{
		`0.2`:          200 * time.Millisecond,
		`0`:            0,
		`-0`:           0,
		`2`:            2 * time.Second,
		`1e-3`:         time.Millisecond,
		`1e-12`:        0,
		`0.1234567894`: 123456789,
		`86400`:        24 * time.Hour,
		`"200ms"`:      200 * time.Millisecond,
		`"1m30.5s"`:    90500 * time.Millisecond,
		`"0"`:          0,
		`"24h"`:        24 * time.Hour,
		`"\u0031s"`:    time.Second,
	} {
		var got Duration
		if err := json.Unmarshal([]byte(written), &got); err != nil {
			t.Errorf("%s: %v", written, err)
		}
		if time.Duration(got) != want {
			t.Errorf("%s: got %v, want %v", written, got, want)
		}
	}
}

func TestDurationRefuses(t *testing.T) {
	for written, want := range map[string]string{
		`-1`:           `sleep is -1: the time is negative`,
		`-1e400`:       `sleep is -1e400: the time is negative`,
		`"-200ms"`:     `sleep is "-200ms": the time is negative`,
		`86400.1`:      `sleep is 86400.1, the limit is 86400 seconds (24h0m0s)`,
		`1e400`:        `sleep is 1e400, the limit is 86400 seconds (24h0m0s)`,
		`"25h"`:        `sleep is "25h", the limit is 86400 seconds (24h0m0s)`,
		`"999999999h"`: `sleep is "999999999h", want a string with a unit ("200ms") or seconds (0.2)`,
		`"0.2"`:        `sleep is "0.2", want a string with a unit ("200ms") or seconds (0.2)`,
		`"NaN"`:        `sleep is "NaN", want a string with a unit ("200ms") or seconds (0.2)`,
		`""`:           `sleep is "", want a string with a unit ("200ms") or seconds (0.2)`,
		`null`:         `sleep is null, want seconds (0.2) or a string with a unit ("200ms")`,
		`[0.2]`:        `sleep is [0.2], want seconds (0.2) or a string with a unit ("200ms")`,
	} {
		err := json.Unmarshal([]byte(written), new(Duration))
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", written, err, want)
		}
	}
}

func TestNotANumberIsRefusedOutsideJSON(t *testing.T) {
	for _, written := range []string{"NaN", "Inf", "-Inf", "nonsense", ""} {
		if err := new(Duration).UnmarshalJSON([]byte(written)); err == nil {
			t.Errorf("%q: got no error", written)
		}
	}
}

// Every duration that can be read is within the limits, can be written, and reads as the same duration again.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{`0.2`, `"200ms"`, `86399.999999999`, `1e-9`, `-1`, `1e400`, `"1h1m1.000000001s"`, `null`, `"µs"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Duration
		if json.Unmarshal(data, &first) != nil {
			return
		}
		if first < 0 || first > Max {
			t.Fatalf("%s reads as %v, the limits are 0 and %v", data, first, Max)
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &second); err != nil || second != first {
			t.Fatalf("%s reads as %v, is written as %s and reads as %v, %v", data, first, again, second, err)
		}
	})
}

func TestSleepTakesTheTimeAndReturnsIt(t *testing.T) {
	for _, d := range []Duration{0, 1, Duration(200 * time.Millisecond), Max} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			got, err := Sleep(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != time.Duration(d) {
				t.Errorf("sleep of %v took %v", d, took)
			}
			if got != time.Duration(d).Seconds() {
				t.Errorf("sleep of %v: got %v, want %v", d, got, time.Duration(d).Seconds())
			}
		})
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the host lost patience")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		start := time.Now()
		_, err := Sleep(ctx, Duration(time.Hour))
		if !errors.Is(err, cause) || err.Error() != "sleep of 1h0m0s: the host lost patience" {
			t.Errorf("got %v, want the cause", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		if _, err := Sleep(ctx, 0); !errors.Is(err, cause) {
			t.Errorf("sleep of nothing after the end: got %v, want the cause", err)
		}
	})
}

func TestSleepChecksDurationsThatWereNotRead(t *testing.T) {
	for d, want := range map[Duration]string{
		-1:            "sleep is -1ns: the time is negative",
		Max + 1:       "sleep is 24h0m0.000000001s, the limit is 86400 seconds (24h0m0s)",
		math.MinInt64: "sleep is -2562047h47m16.854775808s: the time is negative",
	} {
		if _, err := Sleep(t.Context(), d); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSchemaIsJSON(t *testing.T) {
	if !json.Valid([]byte(Schema)) {
		t.Errorf("got %s, want JSON", Schema)
	}
}

func ExampleSleep() {
	var d Duration
	if err := json.Unmarshal([]byte(`"20ms"`), &d); err != nil {
		fmt.Println(err)
	}
	seconds, err := Sleep(context.Background(), d)
	fmt.Println(seconds, err)
	// Output: 0.02 <nil>
}
