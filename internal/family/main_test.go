package family_test

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// sleeperEnv makes the test binary a process that sleeps until it is killed.
const sleeperEnv = "PARHOST_TEST_SLEEPER"

func TestMain(m *testing.M) {
	if os.Getenv(sleeperEnv) != "" {
		_, _ = os.Stdout.WriteString("here\n")
		time.Sleep(10 * time.Minute) // far longer than any test
		return
	}
	goleak.VerifyTestMain(m)
}
