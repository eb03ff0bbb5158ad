// Package family finds the processes that a worker has started, even those that have left its group, session and parents, and kills them.
//
// A process group is not enough: a process leaves it with setsid(2), and an orphan gets another parent. So each worker gets two marks that its
// descendants inherit. Each mark survives where the other gets lost:
//
//   - The environment variable [Env]. A process has it from its start. It is lost in programs that clear their environment, that overwrite it with
//     their title (setproctitle), or that forbid others to read it (ssh-agent).
//   - A resource limit that limits nothing: RLIMIT_RTTIME, set to more than a hundred thousand years. Every descendant inherits it, whatever it
//     executes, and it can be lowered but not raised again. The host sets it a moment after the worker's start, so processes that the worker
//     started before that lack it.
//
// A process without either mark is never touched. A process that removes both on purpose is out of reach here; a pid namespace contains it as well.
//
// On systems other than Linux nothing is found.
package family
