package sdk

import "os"

// They cannot be received: on Windows the host closes the stream, then kills.
var (
	terminateSignal = os.Kill
	orphanSignal    = os.Kill
	quitSignal      = os.Kill
)

func closeOnExec(int) {}

func awaitReadable(int) {}

func killGroup() {}

func stdoutToStderr() {}
