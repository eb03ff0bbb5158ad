package sandbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/parhost/parhost/host/sandbox/internal/trial"
)

// rehearse starts a process at a level, which tries the walls and tells: whether a token keeps its promises depends on the system, and on
// where things lie.
func rehearse(p play) error {
	policy := Policy{Level: p.level, AllowNet: true}
	if err := possible(&policy); err != nil {
		return err
	}
	policy, err := policy.complete()
	if err != nil {
		return err
	}
	b, err := openBox(policy, "", "")
	if err != nil {
		return err
	}
	defer b.Close()
	o, err := b.try()
	if err != nil {
		if errors.Is(err, ErrNotSupported) {
			return err
		}
		return b.failed("rehearsal", err, "")
	}
	return b.judge(&o)
}

// play is what a rehearsal is about: here the level alone, of a policy that opens nothing but the network.
type play struct{ level Level }

func playOf(p *Policy) play { return play{p.Level} }

// try has a process try the walls of a box.
func (b *Box) try() (o trial.Outcome, err error) {
	stage, err := trial.Open()
	if err != nil {
		return o, err
	}
	defer stage.Close()
	cmd, err := stage.Command()
	if err != nil {
		return o, err
	}
	l, err := b.Wrap(cmd, 0)
	if err != nil {
		return o, err
	}
	defer l.Close()
	if err := l.StartError(cmd.Start()); err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), rehearsalTime, fmt.Errorf("no end of the rehearsal after %v", rehearsalTime))
	defer cancel()
	if err := l.Confirm(ctx); err != nil {
		l.Kill()
		return o, errors.Join(err, cmd.Process.Kill(), trial.Wait(ctx, cmd))
	}
	if err := trial.Wait(ctx, cmd); err != nil {
		return o, err
	}
	return stage.Outcome()
}

// judge says which wall did not hold.
func (b *Box) judge(o *trial.Outcome) error {
	for _, w := range []struct {
		did  string
		fail string
	}{
		{"read a file of the user's", o.Read},
		{"make a file in a folder of the user's", o.Write},
		{"end its host", o.Signal},
		{"start a process", o.Start},
	} {
		if w.fail == "" {
			return b.failed("rehearsal", fmt.Errorf("the process could %s", w.did), elsewhere)
		}
	}
	if o.Listen != "" {
		return b.failed("rehearsal", fmt.Errorf("the process could not listen on the loopback address: %s", o.Listen), "")
	}
	return nil
}

// Probe says what this machine has for sandboxes. It starts a process at level basic, once in the life of this one.
func Probe(ctx context.Context) (*Report, error) {
	r := &Report{}
	add := func(name string, err error, fact string) {
		r.Layers = append(r.Layers, Layer{Name: name, OK: err == nil, Fact: okOr(err, fact)})
	}
	j, err := openJob(&Policy{}, 0)
	if err == nil {
		j.close()
	}
	add("job objects", err, "workers end with their host, and have limits")
	t, err := openToken()
	if err == nil {
		t.close()
	}
	add("restricted tokens", err, "can be made")
	return r, r.addLevels(ctx)
}
