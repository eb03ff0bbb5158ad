package main

import (
	"fmt"

	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dossier"
	"github.com/parhost/parhost/host/joblog"
	"github.com/parhost/parhost/internal/wire"
)

// dossiers keeps the texts of the items in progress and writes a dossier for each item that fails.
type dossiers struct {
	files    *dossier.Folder
	origin   joblog.Origin // origin that every dossier names
	dir      string
	written  int
	replayed int   // number of results so far that came from the journal
	err      error // first write error; no dossiers are written after it

	*underWay
}

// openDossiers opens the folder of --dossier. Without the flag it does nothing.
func (r *itemRun) openDossiers(cfg host.Config) error {
	if r.dossier == "" {
		return nil
	}
	origin, err := joblog.OriginOf(cfg)
	if err != nil {
		return err
	}
	origin.Seed = &r.seed
	files, err := dossier.Open(r.dossier, programVersion(), origin, cfg)
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

// close releases the text of an item that has its result. It writes a dossier if the item failed in this run, but not if the error was replayed from
// the journal.
func (d *dossiers) close(r *result, journal *joblog.Journal) {
	item := d.take(r.Index)
	before := d.replayed
	if journal != nil {
		d.replayed = journal.Replayed()
	}
	if r.Err == nil || r.Err.Kind == host.KindCanceled || d.replayed > before || d.err != nil {
		return
	}
	if d.err = d.files.Write(item, r); d.err == nil {
		d.written++
	}
}

// end closes the folder. d may be nil.
func (d *dossiers) end() {
	if d != nil {
		_ = d.files.Close()
	}
}

// say says where the dossiers are. It reports a write error, which must not end a long run but must not be hidden either.
func (d *dossiers) say(s *streams) {
	if d.err != nil {
		s.say("parhost: error: %v; no dossiers were written from there on", d.err)
	}
	if d.written > 0 {
		s.say("parhost: %d %s in %q; parhost replay FILE runs an item again", d.written, wire.Things(d.written, "dossier"), d.dir)
	}
}

func programVersion() string { return fmt.Sprintf("parhost %s", thisBuild().Version) }
