// Package sandbox confines one plugin process: what it can reach, and how much of the machine it can take.
//
// For each pool of workers, and for each worker:
//
//	box, err := sandbox.Open(ctx, sandbox.Policy{Level: sandbox.Strict, MemoryBytes: 1 << 30}, plugin, "")
//	launch, err := box.Wrap(cmd, slot)       // cmd is what would have been started without a sandbox
//	err = launch.StartError(cmd.Start())     // on a thread that lives as long as the worker may
//	err = launch.Confirm(ctx)                // the plugin runs, or the error names the stage that failed
//	conn, err := launch.Dial(ctx, name)      // the plugin's socket, whatever the plugin says of it
//	err = cmd.Wait()
//	death := launch.Death(cmd.ProcessState)  // why it ended, as far as the kernel tells
//	launch.Close()
//
// What is started first is the program itself: before its main it builds the walls from inside, and becomes the plugin with its last call. On
// macOS it sets limits alone, and sandbox-exec(1) builds the walls, which have been tried before.
//
// It confines a process that is hostile. It is no answer to bugs of the kernel, to side channels, or to wrong results.
// docs/SANDBOX.md says what each level stops, and which test shows it.
package sandbox
