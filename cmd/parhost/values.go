package main

import (
	"maps"
	"math"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// parseBatch parses --batch; 0 means auto.
func parseBatch(text string) (int, error) {
	if text == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, usageError("write --batch auto, or a number from 1", "--batch %q is no number of items", text)
	}
	return n, nil
}

// messageSize parses the value of a flag that limits a message, such as the size of an item or a result in bytes. It must be from 1 byte to 2 GiB.
func messageSize(flag, text string) (int, error) {
	n, err := parseBytes(flag, text)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, usageError("write a size such as 64MiB, up to 2 GiB", "--%s %q is no such size", flag, text)
	}
	return int(n), nil
}

// parseBytes parses the value of a flag that is a size such as 512MiB. An empty text is 0.
func parseBytes(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return 0, usageError("write a size such as 512MiB, up to 4 EiB", "--%s %q is no such size", flag, text)
	}
	return int64(n), nil
}

// notNegative returns an error for the first number or duration below 0. values are flag values by flag name.
func notNegative(values map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch v := values[name].(type) {
		case int:
			if v < 0 {
				return usageError("write a number from 0", "--%s %d is negative", name, v)
			}
		case time.Duration:
			if v < 0 {
				return usageError("write a time from 0, such as 30s", "--%s %v is negative", name, v)
			}
		}
	}
	return nil
}

// parseEnv parses --env: KEY=VALUE stays as it is, and KEY gets its value from this program's environment.
func parseEnv(entries []string) ([]string, error) {
	var env []string
	for _, entry := range entries {
		key, _, given := strings.Cut(entry, "=")
		if key == "" {
			return nil, usageError("write --env KEY=VALUE, or --env KEY", "--env %q names no variable", entry)
		}
		if !given {
			value, ok := os.LookupEnv(key)
			if !ok {
				return nil, usageError("write --env "+key+"=VALUE", "--env %s: the variable is not set here", key)
			}
			entry = key + "=" + value
		}
		env = append(env, entry)
	}
	return env, nil
}

// haltPolicy says after how many failures a run stops.
type haltPolicy struct {
	count int      // 0 means no limit
	share *big.Rat // share of the items; nil means no limit
}

// shareFrom is how many items must have ended before a share can stop a run whose number of items is unknown.
const shareFrom = 100

func parseOnError(text string) (haltPolicy, error) {
	switch percent, isShare := strings.CutSuffix(text, "%"); {
	case text == "continue":
		return haltPolicy{}, nil
	case text == "stop":
		return haltPolicy{count: 1}, nil
	case isShare:
		p, err := strconv.ParseFloat(percent, 64)
		exact, ok := new(big.Rat).SetString(percent) // exact, because 4.1% of 1000 is 41, which floating point misses
		if err == nil && ok && p >= leastPercent && p <= 100 {
			return haltPolicy{share: exact.Quo(exact, big.NewRat(100, 1))}, nil
		}
	default:
		n, err := strconv.Atoi(text)
		if err == nil && n > 0 {
			return haltPolicy{count: n}, nil
		}
	}
	return haltPolicy{}, usageError("write --on-error continue, stop, a number such as 3, or a share such as 5%", "--on-error %q is no policy", text)
}

// leastPercent is the smallest percentage that --on-error accepts.
const leastPercent = 1e-9

// reached reports whether the run must stop, given how many items have failed and ended so far. A share refers to total, the number of items of the
// whole run. If total is unknown (-1), it refers to the items that have ended, once these are at least shareFrom.
func (h haltPolicy) reached(failed, ended, total int) bool {
	switch {
	case failed == 0:
		return false
	case h.count > 0:
		return failed >= h.count
	case h.share == nil:
		return false
	case total < 0 && ended < shareFrom:
		return false
	case total < 0:
		total = ended
	}
	most := new(big.Rat).Mul(h.share, new(big.Rat).SetInt64(int64(total)))
	return new(big.Rat).SetInt64(int64(failed)).Cmp(most) >= 0
}
