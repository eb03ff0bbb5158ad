package conform

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/protocol"
)

// many checks that many items run in one batch, and that the reported times of the items add up to no more than the batch took.
func many(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	o := order(items)
	o.Timed = true
	b, err := s.Run(o, t.limit(len(items)))
	if err != nil {
		return "", err
	}
	var sum time.Duration
	most := b.Took + b.Took/10 + 10*time.Millisecond
	for _, ns := range b.ItemNS {
		sum += time.Duration(min(ns, uint64(most)+1)) // the worker may report any times, and their sum must not overflow
	}
	if sum > most {
		return "", fmt.Errorf("the items took %v together, says the worker, and the batch was back after %v", sum, b.Took)
	}
	return fmt.Sprintf("%s in %s, each timed", wire.Count(len(items), "item"), wire.Count(b.Parts, "message")), t.complete(b, items)
}

// window checks that a worker can hold several batches at once, and that it gives back those that wait if it is asked to.
func window(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	var lists [][]item
	for n, rest := 1, items; len(rest) > 0; n *= 2 { // batches of 1, 2, 4 and more items
		lists = append(lists, rest[:min(n, len(rest))])
		rest = rest[len(lists[len(lists)-1]):]
	}
	if _, err := t.together(s, lists, func() {}, t.complete); err != nil {
		return "", err
	}
	back, err := t.together(s, lists, func() {
		for range lists {
			s.session.Recall()
		}
	}, func(b *Batch, items []item) error {
		if b.done() == 0 {
			return nil // it came back
		}
		return t.complete(b, items)
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d batches sent at once, %s; asked for again, %d came back", len(lists), wire.Count(len(items), "item"), back), nil
}

// together sends a batch of each of the lists of items before it waits for the first one, and checks each. then is called when all batches have been sent. It
// returns how many batches were handed back with nothing done.
func (t *trial) together(s *Stream, lists [][]item, then func(), check func(*Batch, []item) error) (back int, err error) {
	var batches []*Batch
	for _, list := range lists {
		batches = append(batches, s.Send(order(list)))
	}
	then()
	total := 0
	for i, b := range batches {
		total += len(lists[i])
		if err := s.Wait(b, t.limit(total)); err != nil {
			return 0, err
		}
		if err := check(b, lists[i]); err != nil {
			return 0, fmt.Errorf("batch %d of %d: %w", i, len(batches), err)
		}
		if b.done() == 0 {
			back++
		}
	}
	return back, nil
}

// handBack checks that a worker hands back the rest of a batch when the batch's time budget is used up.
func handBack(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	o := order(items)
	o.Budget, o.Timed = 1, true // a worker that need not time each item may look at the clock less often
	b, err := s.Run(o, t.limit(len(items)))
	switch {
	case err != nil:
		return "", err
	case b.done() == 0:
		return "", errors.New("a batch with no time came back with nothing done: a worker has to run one item at least, or its host tries for ever")
	case b.done() == len(items):
		return fmt.Sprintf("all %d items done at once", len(items)), t.compare(b, items)
	}
	return fmt.Sprintf("%d of %d items done with no time to spare, the rest handed back", b.done(), len(items)), t.compare(b, items)
}

// credit checks that a worker asks for credit before it sends more bytes of results than it may.
func credit(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	o := order(items)
	o.Credit = 1 // 1 byte is less than the smallest column of results
	b, err := s.Run(o, t.limit(len(items)))
	if err != nil {
		return "", err
	}
	if err := t.complete(b, items); err != nil {
		return "", err
	}
	o.Stop = true
	stopped, err := s.Run(o, t.limit(len(items)))
	if err != nil {
		return "", err
	}
	if err := t.compare(stopped, items); err != nil {
		return "", err
	}
	o.Drop = true
	dropped, err := s.Run(o, t.limit(len(items)))
	if err != nil {
		return "", err
	}
	for at := range dropped.done() {
		if e := dropped.Errors[at]; e == nil || e.Kind != protocol.KindCanceled {
			return "", fmt.Errorf("the result of item %d came, though there was no room for it: it should have been canceled", at)
		}
	}
	return fmt.Sprintf("%s, asked for %d times; %d done when told to stop then, %d dropped when told to", wire.Count(len(items), "item"), b.Needs, stopped.done(),
		dropped.done()), nil
}

// threads runs several batches at once in one worker.
func threads(ctx context.Context, t *trial) (string, error) {
	const at = 4
	items, err := t.some(aim, manyMost)
	if err != nil {
		return "", err
	}
	s, err := t.own(ctx, at, 0)
	if err != nil {
		return "", err
	}
	begun := time.Now()
	var batches []*Batch
	for range at {
		batches = append(batches, s.Send(order(items)))
	}
	var sum time.Duration
	for _, b := range batches {
		if err := s.Wait(b, t.limit(at*len(items))); err != nil {
			return "", err
		}
		if err := t.complete(b, items); err != nil {
			return "", err
		}
		sum += b.Run
	}
	wall := time.Since(begun)
	if !t.manifest.GetNotConcurrent() {
		return fmt.Sprintf("%d batches of %d at once", at, len(items)), nil
	}
	// If the batches ran one at a time, their run times add up to no more than the time that has passed.
	if sum > wall+wall/5+10*time.Millisecond {
		return "", fmt.Errorf("the manifest says NotConcurrent, and %d threads ran %v of items in %v", at, sum.Round(time.Millisecond), wall.Round(time.Millisecond))
	}
	return fmt.Sprintf("%d threads ran %d batches one after the other, as NotConcurrent says", at, at), nil
}

// cancel checks that a canceled batch or item ends, and that nothing else does.
func cancel(ctx context.Context, t *trial) (string, error) {
	items, err := t.some(aim, longMost)
	if err != nil {
		return "", err
	}
	s, err := t.stream(ctx)
	if err != nil {
		return "", err
	}
	b := s.Send(order(items))
	s.session.CancelBatch(b.ID())
	s.session.CancelBatch(b.ID() + 1000) // the worker does not hold this batch
	if err := s.Wait(b, t.limit(3)); err != nil {
		return "", fmt.Errorf("canceled: %w", err)
	}
	s.session.CancelItem(b.ID(), 0) // the worker no longer holds this batch
	canceled, failed := 0, 0
	for i, e := range b.Errors {
		switch e.Kind {
		case protocol.KindCanceled:
			canceled++
		case protocol.KindFailed: // the item that was running may report why it stopped in its own words
			failed++
		default:
			return "", fmt.Errorf("item %d of a canceled batch is %s: %s", i, e.Kind, e.Message)
		}
	}
	switch {
	case failed > 1:
		return "", fmt.Errorf("%d items of a canceled batch failed, want them canceled: %w", failed, firstOf(b))
	case b.done() != len(items):
		return "", fmt.Errorf("%d of %d items of a canceled batch have an outcome", b.done(), len(items))
	}
	if err := cancelOne(s, t, items[:3]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d of %d items canceled, ended after %v; the worker lives on", canceled+failed, len(items), b.Took.Round(time.Microsecond)), nil
}

func firstOf(b *Batch) error {
	for i := range b.Values {
		if e := b.Errors[i]; e != nil {
			return e
		}
	}
	return nil
}

// cancelOne cancels the last of three items, and checks that the other two give their results.
func cancelOne(s *Stream, t *trial, three []item) error {
	b := s.Send(order(three))
	s.session.CancelItem(b.ID(), 2)
	if err := s.Wait(b, t.limit(3)); err != nil {
		return fmt.Errorf("one item canceled: %w", err)
	}
	if b.done() != 3 {
		return fmt.Errorf("with one item canceled, %d of 3 have an outcome", b.done())
	}
	delete(b.Errors, 2)
	b.Values = b.Values[:2]
	if err := t.compare(b, three); err != nil {
		return fmt.Errorf("its neighbour was canceled: %w", err)
	}
	return nil
}

// timeout runs the slowest example with a time limit shorter than the example takes.
func timeout(ctx context.Context, t *trial) (string, error) {
	// A timer fires late on a busy machine. An item that ends less than this long after its limit says nothing about the worker.
	const late, least = 100 * time.Millisecond, 200 * time.Millisecond
	const small = 64 << 10 // bytes of a result; the transfer of a larger one would count as run time of the item
	var one item           // the slowest with a small result
	for _, i := range t.items {
		if len(i.result) <= small {
			one = i
		}
	}
	slow := one.took
	if slow < least {
		return "", skip("no example with a result of at most %d bytes takes %v", small, least)
	}
	s, err := t.own(ctx, 1, 0)
	if err != nil {
		return "", err
	}
	o := order([]item{one})
	o.Timeout = slow / 4
	b, err := s.Run(o, t.limit(1))
	for range 2 {
		if err == nil && b.Errors[0] == nil && b.Took >= o.Timeout+late {
			b, err = s.Run(o, t.limit(1))
		}
	}
	if err != nil {
		return "", err
	}
	e := b.Errors[0]
	switch {
	case e == nil && b.Took < o.Timeout+late:
		return "", skip("%s took %v this time, too little for a limit of %v", short(one.text), b.Took.Round(time.Millisecond), o.Timeout.Round(time.Millisecond))
	case e == nil:
		return "", fmt.Errorf("an item ran for %v with a limit of %v", b.Took, o.Timeout)
	case e.Kind != protocol.KindTimeout:
		return "", fmt.Errorf("an item beyond its limit is %s, want %s: %s", e.Kind, protocol.KindTimeout, e.Message)
	case !b.Overrun && b.Took > o.Timeout+late: // the message about the limit and the end of an item that ends sooner may have crossed
		return "", errors.New("the worker did not say when the item passed its limit, so its host cannot know whether it hangs")
	case b.Took > slow*3/4:
		return fmt.Sprintf("limit of %v noticed; the workload does not look at its context, so hosts will kill its worker", o.Timeout.Round(time.Millisecond)), nil
	}
	return fmt.Sprintf("limit of %v: stopped after %v", o.Timeout.Round(time.Millisecond), b.Took.Round(time.Millisecond)), nil
}
