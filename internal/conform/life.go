package conform

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// startFirst checks that a worker refuses a stream that does not begin with a Start message.
func startFirst(ctx context.Context, t *trial) (string, error) {
	w, err := t.worker(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	stream, err := w.Service.Work(ctx)
	if err != nil {
		return "", err
	}
	_ = stream.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Batch{Batch: &workerpb.Batch{Id: 1}}})
	r, err := stream.Recv()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("a stream that begins with a batch is not refused after %v", answer)
	case err == nil:
		return "", fmt.Errorf("a stream that begins with a batch is answered with %T", r.GetMessage())
	}
	return "refused: " + message(err), nil
}

// oneStream checks that a worker refuses a second stream, and goes on to serve the first.
func oneStream(ctx context.Context, t *trial) (string, error) {
	first, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	brief, stop := context.WithTimeout(ctx, answer)
	defer stop()
	second, err := first.worker.Service.Work(brief)
	if err != nil {
		return "", err
	}
	_ = second.Send(&workerpb.WorkRequest{Message: &workerpb.WorkRequest_Start{Start: &workerpb.Start{Worker: 2, Threads: 1}}})
	_, refusal := second.Recv()
	switch {
	case brief.Err() != nil:
		return "", fmt.Errorf("a second stream is not refused after %v", answer)
	case refusal == nil:
		return "", errors.New("a second stream is served like the first")
	}
	if items, err := t.some(0, 1); err == nil {
		b, err := first.Run(order(items), t.limit(len(items)))
		if err == nil {
			err = t.complete(b, items)
		}
		if err != nil {
			return "", fmt.Errorf("after a second stream was refused: %w", err)
		}
	}
	return "refused: " + message(refusal), nil
}

// drain closes the host's side of the stream while batches wait, and checks that the worker runs them, tears down, and exits.
func drain(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	s, err := t.own(ctx, 1, 0)
	if err != nil {
		return "", err
	}
	half := len(items) / 2
	first, second := order(items[:half]), order(items[half:])
	first.Credit, second.Credit = s.room()/2, s.room()/2 // a host can grant no more credit after it has closed its side
	batches := []*Batch{s.Send(first), s.Send(second)}
	closed := make(chan error, 1)
	begun := time.Now()
	go func() { closed <- s.Close(t.limit(len(items))) }()
	for i, list := range [][]item{items[:half], items[half:]} {
		if err := s.Wait(batches[i], t.limit(len(items))); err != nil {
			return "", fmt.Errorf("after the host closed its side: %w", err)
		}
		if err := t.complete(batches[i], list); err != nil {
			return "", fmt.Errorf("after the host closed its side: %w", err)
		}
	}
	if err := <-closed; err != nil {
		return "", fmt.Errorf("the end of the stream: %w", err)
	}
	if err := gone(s.worker, answer); err != nil {
		return "", err
	}
	if s.worker.Torn != nil && s.worker.Torn() != nil {
		return "", fmt.Errorf("teardown: %w", s.worker.Torn())
	}
	return fmt.Sprintf("%s done, torn down, gone after %v", wire.Count(len(items), "item"), time.Since(begun).Round(time.Millisecond)), nil
}

// abandon breaks the stream in the middle of a batch, and checks that the worker exits.
func abandon(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, longMost)
	if err != nil {
		return "", err
	}
	s, err := t.own(ctx, 1, 0)
	if err != nil {
		return "", err
	}
	s.Send(order(items))
	begun := time.Now()
	s.Break()
	if err := gone(s.worker, t.limit(3)); err != nil {
		return "", err
	}
	return fmt.Sprintf("gone %v after its host", time.Since(begun).Round(time.Millisecond)), nil
}

func gone(w *Worker, limit time.Duration) error {
	select {
	case <-w.Gone:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("the stream has ended, and the worker is there %v later", limit)
	}
}
