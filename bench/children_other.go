//go:build !unix

package main

import (
	"os"
	"os/exec"
)

const exeSuffix = ".exe"

func ownGroup(*exec.Cmd) {}

func peakRSS(*os.ProcessState) int64 { return 0 }
