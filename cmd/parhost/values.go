package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// parseBatch reads --batch: 0 stands for auto.
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

// parseBytes reads a size such as 512MiB; an empty text is 0.
func parseBytes(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, err
	}
	if n > 1<<62 {
		return 0, fmt.Errorf("%s is more than any machine has", text)
	}
	return int64(n), nil
}

// parseEnv reads --env: KEY=VALUE as it is, KEY with the value of the host's environment.
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
	count int     // 0: no limit
	share float64 // of the items done; 0: no limit
}

// shareFrom items done, a share of failures means something.
const shareFrom = 20

func parseOnError(text string) (haltPolicy, error) {
	switch percent, isShare := strings.CutSuffix(text, "%"); {
	case text == "continue":
		return haltPolicy{}, nil
	case text == "stop":
		return haltPolicy{count: 1}, nil
	case isShare:
		p, err := strconv.ParseFloat(percent, 64)
		if err == nil && p > 0 && p <= 100 {
			return haltPolicy{share: p / 100}, nil
		}
	default:
		n, err := strconv.Atoi(text)
		if err == nil && n > 0 {
			return haltPolicy{count: n}, nil
		}
	}
	return haltPolicy{}, usageError("write --on-error continue, stop, a number such as 3, or a share such as 5%", "--on-error %q is no policy", text)
}

// reached reports whether the run is to stop.
func (h haltPolicy) reached(failed, done int) bool {
	switch {
	case failed == 0:
		return false
	case h.count > 0:
		return failed >= h.count
	case h.share > 0:
		return done >= shareFrom && float64(failed) >= h.share*float64(done)
	default:
		return false
	}
}
