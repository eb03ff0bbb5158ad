package main

import (
	"github.com/parhost/parhost/host"
	"github.com/parhost/parhost/host/dashboard"
	"github.com/parhost/parhost/host/history"
)

// hostile returns a run whose texts are markup.
func hostile() *dashboard.Run {
	const markup = "<b id=evil></b><img src=x onerror=alert(1)>"
	s := history.New()
	s.Observe(host.WorkerStarted{At: s.Begun(), Worker: 1, PID: 1})
	s.Observe(host.ItemFailed{At: s.Begun(), Attempt: host.Attempt{Worker: 1, Item: markup, Blamed: true, Err: &host.ItemError{Kind: markup, Cause: markup, Message: markup}}})
	s.Observe(host.WorkerEnded{At: s.Begun(), Worker: 1, PID: 1, Reason: markup, Cause: markup})
	return &dashboard.Run{
		Store: s, Label: markup, Title: markup, Facts: []dashboard.Fact{{Name: markup, Value: markup}},
		Replay: func(int, string) string { return markup }, Ended: func() (string, bool) { return markup, true },
	}
}
