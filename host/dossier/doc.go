// Package dossier writes and reads dossiers: one file for each item that failed, with everything that is known about the failure.
//
//	origin, err := joblog.OriginOf(cfg)
//	…
//	dossiers, err := dossier.Open("failures", "scorer 1.2", origin, cfg)
//	…
//	for result, err := range pool.Stream(ctx, slices.Values(items)) {
//		if result.Err != nil {
//			err = dossiers.Write(items[result.Index], &result)
//		}
//	}
//
// A dossier has the item, so parhost replay can run it again. Anybody who can write to the folder can write a dossier: [Folder.Sign] and [ReadSigned] tell
// whether a program with the key wrote it.
package dossier
