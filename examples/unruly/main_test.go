package main

import (
	"testing"

	"github.com/parhost/parhost/sdk/sdktest"
)

func TestPromises(t *testing.T) { sdktest.Check(t, workload) }
