package link

import "time"

// AdoptRings makes the host use the rings if the worker does, as [NewClient] does.
func (l *Link) AdoptRings() { l.adoptRings() }

// Expire sets the deadline to now, as the end of the stream does.
func (l *Link) Expire() { l.expire(time.Now()) }
