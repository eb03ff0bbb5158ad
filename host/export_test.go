package host

// AwaitObserver waits until the Observer has been called with all events so far.
func (p *Pool) AwaitObserver() { p.cfg.events.drain() }
