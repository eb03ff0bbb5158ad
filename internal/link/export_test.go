package link

import "time"

// Settle has the host use what the worker uses, as [NewClient] does.
func (l *Link) Settle() { l.settle() }

// Expire bounds what waits, as the end of the stream does.
func (l *Link) Expire() { l.expire(time.Now()) }
