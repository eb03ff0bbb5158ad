package host

// AwaitObserver waits until the Observer has been called with all events so far.
func (p *Pool) AwaitObserver() { p.cfg.events.drain() }

// ObserverIsBehind returns a channel that is closed when the Observer has caught up, or nil if it is not behind.
func (p *Pool) ObserverIsBehind() <-chan struct{} { return p.cfg.events.full() }
