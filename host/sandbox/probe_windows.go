package sandbox

import "context"

// seen is the fact that Probe reports after a successful rehearsal.
const seen = "a process tried its walls, with AllowNet (experimental)"

// play is what distinguishes rehearsals: only the level, because the policy always opens the network and nothing else.
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

// Probe reports which sandbox features this machine has. It starts a process at level basic, once in the life of this process.
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
