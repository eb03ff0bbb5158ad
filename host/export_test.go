package host

// AwaitObserver waits until the Observer has been called with all events so far.
func (p *Pool) AwaitObserver() {
	if q := p.cfg.events; q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.drain()
	}
}

// ObserverIsBehind returns a channel that is closed when the Observer has caught up, or nil if it is not behind.
func (p *Pool) ObserverIsBehind() <-chan struct{} { return p.cfg.events.full() }
