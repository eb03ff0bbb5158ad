package sandbox

import "context"

// seen is what a rehearsal has shown that went well.
const seen = "a process tried its walls, with AllowNet (experimental)"

// play is what a rehearsal is about: here the level alone, of a policy that opens nothing but the network.
type play struct{ level Level }

func playOf(p *Policy) play { return play{p.Level} }

// boxFor opens the box of a rehearsal.
func boxFor(p play) (*Box, error) {
	policy := Policy{Level: p.level, AllowNet: true}
	if err := possible(&policy); err != nil {
		return nil, err
	}
	policy, err := policy.complete()
	if err != nil {
		return nil, err
	}
	return openBox(context.Background(), policy, "", "")
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
