package carrier

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// refusals tells requests that the server has refused them. A server answers a publication that it does not allow with an error that names the subject, and
// the request itself would wait for its answer until it times out.
type refusals struct {
	mu      sync.Mutex
	waiting map[string]map[*context.CancelCauseFunc]bool // by subject
}

// guard calls f with a context that ends after requestTime, or when the server refuses a publication to the subject. The error is then the server's.
func (c *Carrier) guard(ctx context.Context, subject string, f func(context.Context) error) error {
	return c.guardFor(ctx, requestTime, subject, f)
}

func (c *Carrier) guardFor(ctx context.Context, most time.Duration, subject string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	ctx, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	c.refused.add(subject, &refuse)
	defer c.refused.remove(subject, &refuse)
	err := f(ctx)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, nats.ErrPermissionViolation) {
		return cause
	}
	return err
}

func (r *refusals) add(subject string, refuse *context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[string]map[*context.CancelCauseFunc]bool{}
	}
	if r.waiting[subject] == nil {
		r.waiting[subject] = map[*context.CancelCauseFunc]bool{}
	}
	r.waiting[subject][refuse] = true
}

func (r *refusals) remove(subject string, refuse *context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.waiting[subject], refuse); len(r.waiting[subject]) == 0 {
		delete(r.waiting, subject)
	}
}

// complained handles what the server says about no request in particular.
func (c *Carrier) complained(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		c.log.Debug("cluster", "err", err)
		return
	}
	c.log.Warn("the server refuses what this program's key does not allow", "err", err)
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	c.refused.mu.Lock()
	defer c.refused.mu.Unlock()
	for refuse := range c.refused.waiting[subject] {
		(*refuse)(err)
	}
}
