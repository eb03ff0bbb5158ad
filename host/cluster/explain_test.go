package cluster

import (
	"strings"
	"testing"

	"github.com/parhost/parhost/host/cluster/internal/clusterpb"
	"github.com/parhost/parhost/host/cluster/internal/engine"
)

func TestANodeIsJudgedByWhatItSaysAndIs(t *testing.T) {
	key := engine.JobKey{Tenant: "t", Job: "j"}
	spec := &clusterpb.Spec{Version: "v1.4.0", Plugin: &clusterpb.Plugin{Name: "p", Sha256: map[string]string{"linux/amd64": "x"}}}
	for name, c := range map[string]struct {
		node *clusterpb.Node
		runs bool
		why  string
	}{
		"free":              {&clusterpb.Node{Version: "v1.4.9", Platform: "linux/amd64", Slots: 2, Busy: 1}, true, "1 of its 2 slots are free"},
		"busy":              {&clusterpb.Node{Version: "v1.3.0", Platform: "linux/amd64", Slots: 2, Busy: 2}, true, "its 2 slots are busy"},
		"built anew":        {&clusterpb.Node{Version: "(devel)", Platform: "linux/amd64", Slots: 1}, true, "1 of its 1 slots are free"},
		"another platform":  {&clusterpb.Node{Version: "v1.4.0", Platform: "linux/arm64", Slots: 2}, false, `it is linux/arm64, and the job has no executable of plugin "p" for that`},
		"two versions away": {&clusterpb.Node{Version: "v1.6.0", Platform: "linux/amd64", Slots: 2}, false, "it is parhost v1.6.0, and the submitter is parhost v1.4.0"},
		"another major":     {&clusterpb.Node{Version: "v2.4.0", Platform: "linux/amd64", Slots: 2}, false, "it is parhost v2.4.0"},
		"leaving":           {&clusterpb.Node{Version: "v1.4.0", Platform: "linux/amd64", Slots: 2, Leaving: true}, false, "it takes no more batches"},
		"refusing": {
			&clusterpb.Node{Version: "v1.4.0", Platform: "linux/amd64", Slots: 2, Troubles: []*clusterpb.Trouble{{Tenant: "t", Job: "j", Kind: "refused", Message: "no"}}},
			false, "no",
		},
		"refusing another": {
			&clusterpb.Node{Version: "v1.4.0", Platform: "linux/amd64", Slots: 2, Troubles: []*clusterpb.Trouble{{Tenant: "u", Job: "j", Message: "no"}}},
			true, "2 of its 2 slots are free",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if v := judge(c.node, &clusterpb.Job{Spec: spec}, key); v.Runs != c.runs || !strings.HasPrefix(v.Why, c.why) {
				t.Errorf("got %+v, want %v because %q", v, c.runs, c.why)
			}
		})
	}
}
