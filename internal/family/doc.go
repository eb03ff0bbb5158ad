// Package family finds the processes that a worker has started, wherever they have gone, and ends them.
//
// A process group does not hold them: whoever calls setsid(2) leaves it, and an orphan's parent is somebody else. So each worker
// gets a mark that its descendants inherit. There are two, because each gets lost where the other does not:
//
//   - A variable of the environment, [Env]. It is there from the first moment. Programs that clear their environment, that write their
//     title over it (setproctitle), or that forbid others to look at it (ssh-agent) lose it.
//   - A limit of the kernel's that limits nothing: RLIMIT_RTTIME, set to more than a hundred thousand years. Every child has it, whatever
//     it executes, and it can be lowered but not lifted again. The host sets it a moment after the start, and what the worker had started by
//     then has it not.
//
// A process without either is never touched. Who loses both on purpose is out of reach here; a pid namespace holds that one too.
//
// On other systems than Linux there is nothing to look at, and nothing is found.
package family
