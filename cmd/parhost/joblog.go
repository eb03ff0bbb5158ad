package main

import (
	"errors"
	"fmt"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
)

// checkJoblog refuses --resume flags without --joblog, before anything is opened.
func checkJoblog(o *options) error {
	for _, f := range []struct {
		name  string
		given bool
	}{{"resume", o.resume}, {"resume-failed", o.resumeFailed}, {"resume-anyway", o.resumeAnyway}} {
		if f.given && o.joblog == "" {
			return usageError(fmt.Sprintf("write --joblog FILE --%s", f.name), "--%s: there is no --joblog to resume", f.name)
		}
	}
	return nil
}

// openJoblog opens the journal of --joblog. Without the flag it does nothing.
func (r *itemRun) openJoblog(cfg host.Config) error {
	if r.joblog == "" {
		return nil
	}
	origin, err := joblog.OriginOf(cfg)
	if err != nil {
		return err
	}
	if r.seedGiven {
		origin.Seed = &r.seed
	}
	r.journal, err = joblog.Open(joblog.Config{
		Path: r.joblog, Origin: origin, Program: programVersion(), Run: asTexts, MaxResultBytes: cfg.MaxResultBytes,
		Resume:      r.resume || r.resumeFailed || r.resumeAnyway,
		RetryFailed: r.resumeFailed, Anyway: r.resumeAnyway,
	})
	if err != nil {
		e := joblogError(err)
		if errors.As(err, new(*joblog.WriteError)) {
			e.hint = "nothing has run; give a joblog in a folder that can be written"
		}
		return e
	}
	r.seed = r.journal.Seed()
	c := r.journal.Contents()
	if c.Unsynced != nil {
		r.say("parhost: warning: joblog %q: its file system cannot sync files (%v): after a crash of the machine, results that were shown may be missing in it", r.joblog, c.Unsynced)
	}
	if c.Unlocked != nil {
		r.say("parhost: warning: joblog %q: its file system cannot lock files (%v): nothing keeps a second run from writing to it, which would spoil it", r.joblog, c.Unlocked)
	}
	if c.TornBytes > 0 {
		r.say("parhost: joblog %q: the last record was not written to its end; its item runs again", r.joblog)
	}
	if c.Damaged > 0 {
		what := fmt.Sprintf("%d damaged lines are left out; their items run again", c.Damaged)
		if c.Damaged == 1 {
			what = "1 damaged line is left out; its item runs again"
		}
		r.say("parhost: joblog %q: %s", r.joblog, what)
	}
	return nil
}

// closeJoblog closes the journal. It joins err with the journal's own error, because a user who resumes an interrupted run must know whether the file
// is complete.
func (r *itemRun) closeJoblog(err error) error {
	if r.journal == nil {
		return err
	}
	r.sum.Resumed = r.journal.Replayed()
	r.history.Resumed(r.sum.Resumed)
	closeErr := r.journal.Close()
	if closeErr == nil || errors.Is(err, closeErr) {
		return err
	}
	return errors.Join(closeErr, err)
}

// sayResume says how to continue a run that stopped early.
func (r *itemRun) sayResume() {
	if r.journal != nil && r.sum.Stopped != "" {
		r.say("parhost: what is finished is in %q; the same command with --resume goes on", r.joblog)
	}
}

// joblogError adds the exit code and a hint to an error of the journal.
func joblogError(err error) *exitError {
	var inUse *joblog.InUseError
	var foreign *joblog.ForeignError
	var long *joblog.LineError
	var finished *joblog.FinishedError
	var origin *joblog.OriginError
	var write *joblog.WriteError
	exit := &exitError{code: exitUsage, err: err}
	switch {
	case errors.As(err, &inUse):
		exit.hint = "wait for it to end, or give this run a joblog of its own"
	case errors.As(err, &foreign):
		exit.hint = "give a name that is not taken; the file is as it was"
	case errors.As(err, &long):
		exit.hint = fmt.Sprintf("head -n %d %s >mended keeps what stands before that line; the items of the others run again", long.Line-1, quote(long.Path))
	case errors.As(err, &finished):
		exit.hint = "--resume goes on with them; remove the file to begin anew"
	case errors.As(err, &origin):
		exit.hint = "--resume-anyway keeps them; remove the file to begin anew"
	case errors.Is(err, joblog.ErrRemoved):
		exit.code = exitFailed
		exit.hint = "what it held is lost, and there is nothing for --resume; the results that were shown are complete"
	case errors.Is(err, joblog.ErrCut):
		exit.code = exitFailed
		exit.hint = "records of results that were shown are gone from it; --resume keeps those that are left, and runs the other items again"
	case errors.As(err, &write):
		exit.code = exitFailed
		exit.hint = "the results shown so far are in the joblog; --resume goes on with them when it can be written again"
	}
	return exit
}
