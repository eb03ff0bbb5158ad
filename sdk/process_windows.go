package sdk

import "os"

const terminateSignal = os.Kill // cannot be received: on Windows the host closes the stream, then kills

func closeOnExec(int) {}

func killGroup() {}

func stdoutToStderr() {}
