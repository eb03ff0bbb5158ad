package sdk

import "os"

// Windows cannot deliver these signals: there the host closes the stream and then kills the process.
var (
	terminateSignal = os.Kill
	orphanSignal    = os.Kill
	quitSignal      = os.Kill
)

func closeOnExec(int) {}

func awaitReadable(int) {}

func killGroup() {}

func stdoutToStderr() {}
