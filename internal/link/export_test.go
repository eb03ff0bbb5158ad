package link

import "time"

// AdoptRings has the host use what the worker uses, as [NewClient] does.
func (l *Link) AdoptRings() { l.adoptRings() }

// Expire bounds what waits, as the end of the stream does.
func (l *Link) Expire() { l.expire(time.Now()) }
