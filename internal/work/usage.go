package work

import "github.com/parhost/parhost/protocol"

// since returns what was used after an earlier time.
func since(now, before protocol.Usage) protocol.Usage {
	return protocol.Usage{
		User: max(0, now.User-before.User), System: max(0, now.System-before.System), MaxRSS: now.MaxRSS,
		Voluntary: max(0, now.Voluntary-before.Voluntary), Forced: max(0, now.Forced-before.Forced),
	}
}
