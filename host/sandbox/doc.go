// Package sandbox confines one plugin process: it limits what the process can reach and how much of the machine it can take.
//
// For each pool of workers, and for each worker:
//
//	box, err := sandbox.Open(ctx, sandbox.Policy{Level: sandbox.Strict, MemoryBytes: 1 << 30}, plugin, "")
//	launch, err := box.Wrap(cmd, slot)       // cmd would start the plugin without a sandbox
//	err = launch.StartError(cmd.Start())     // on a thread that lives as long as the worker may
//	err = launch.Confirm(ctx)                // the plugin runs, or the error names the stage that failed
//	conn, err := launch.Dial(ctx, name)      // to a socket in the plugin's folder, and to nothing else
//	err = cmd.Wait()
//	death := launch.Death(cmd.ProcessState)  // why it ended, as far as the kernel tells
//	launch.Close()
//
// Wrap makes the command start this program instead of the plugin: before its main, this program builds the walls from inside, and its last system
// call executes the plugin. On macOS this program only sets limits. sandbox-exec(1) builds the walls there, and the host has tested them before.
//
// The sandbox confines a hostile process. It does not protect against kernel bugs, side channels, or wrong results. docs/SANDBOX.md lists what each
// level stops, and the test that proves it.
package sandbox
