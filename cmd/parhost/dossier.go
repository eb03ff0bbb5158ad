package main

import (
	"fmt"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/internal/wire"
)

// dossiers keeps the texts of the items that are under way, and writes the files of those that fail.
type dossiers struct {
	files    *joblog.Dossiers
	origin   joblog.Origin // that all of them name
	dir      string
	written  int
	replayed int   // results so far that came from the journal
	err      error // why no more are written

	*underWay
}

// openDossiers opens the folder that --dossier names, if it does.
func (r *itemRun) openDossiers(cfg host.Config) error {
	if r.dossier == "" {
		return nil
	}
	origin, err := joblog.OriginOf(cfg)
	if err != nil {
		return err
	}
	origin.Seed = &r.seed
	files, err := joblog.OpenDossiers(r.dossier, programVersion(), origin, cfg)
	if err != nil {
		return usageError("give a folder that can be written", "%v", err)
	}
	if key, err := makeKey(); err == nil {
		files.Sign(key)
	} else {
		r.say("parhost: warning: dossiers are not signed, so that replay asks for --sandbox: %v", err)
	}
	r.dossiers = &dossiers{files: files, origin: origin, dir: r.dossier, underWay: newUnderWay()}
	return nil
}

// close closes the file of an item that has its result: it writes the dossier if that is an error, and was not one before this run.
func (d *dossiers) close(r *result, journal *joblog.Journal) {
	item := d.take(r.Index)
	before := d.replayed
	if journal != nil {
		d.replayed = journal.Replayed()
	}
	if r.Err == nil || r.Err.Kind == host.Canceled || d.replayed > before || d.err != nil {
		return
	}
	if d.err = d.files.Write(item, r); d.err == nil {
		d.written++
	}
}

// end lets go of the folder.
func (d *dossiers) end() {
	if d != nil {
		_ = d.files.Close()
	}
}

// say says where the dossiers are. A folder that could not be written is no reason to end a run of hours, but to be named.
func (d *dossiers) say(s *streams) {
	if d.err != nil {
		s.say("parhost: error: %v; no dossiers were written from there on", d.err)
	}
	if d.written > 0 {
		s.say("parhost: %d %s in %q; parhost replay FILE runs an item again", d.written, wire.Things(d.written, "dossier"), d.dir)
	}
}

func programVersion() string { return fmt.Sprintf("parhost %s", thisBuild().Version) }
