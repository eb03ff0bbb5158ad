// Package sdktest tests a workload as a host will use it: over a real gRPC connection to the code that serves plugins.
//
//	func TestSqrt(t *testing.T) {
//		sdktest.Check(t, workload)
//		got := sdktest.Run(t, workload, 4, 9)
//		// got is [2 3]
//	}
//
// [Check] tests what the manifest and the protocol promise; [Run] and [Do] are for testing what the workload computes. Everything runs in the test's
// own process, so that the race detector, coverage and debuggers see the workload. "parhost plugins verify" runs the same checks on an executable.
package sdktest
