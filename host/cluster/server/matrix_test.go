//go:build !noserver

package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster"
	"github.com/parhost/parhost/host/cluster/server"
)

// member is a user of the test's servers.
type member struct {
	server.User
	file string // of its seed
}

// members are those by whose names the matrix goes. The key of "stranger" is in no list.
func newMembers(t *testing.T) map[string]member {
	t.Helper()
	all := map[string]member{}
	for name, u := range map[string]server.User{
		"a": {Role: server.RoleSubmitter, Tenant: "A"}, "b": {Role: server.RoleSubmitter, Tenant: "B"}, "node": {Role: server.RoleNode}, "operator": {Role: server.RoleOperator},
		"stranger": {},
	} {
		seed, public, err := server.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		m := member{User: u, file: filepath.Join(t.TempDir(), "seed")}
		m.Key = public
		if err := os.WriteFile(m.file, seed, 0o600); err != nil {
			t.Fatal(err)
		}
		all[name] = m
	}
	return all
}

func users(members map[string]member) (list []server.User) {
	for name, m := range members {
		if name != "stranger" {
			list = append(list, m.User)
		}
	}
	return list
}

// dial connects as a member, by the library alone.
func dial(t *testing.T, url string, m member) *nats.Conn {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(m.file)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, key, nats.CustomInboxPrefix("_INBOX_"+m.Key), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// cell is an action, and who may do it. {n} in its subject is another number each time.
type cell struct {
	name   string
	to     string // subject of a request
	sub    string // or of a subscription
	body   string
	header nats.Header
	may    string // names of members; the server refuses all others
	never  bool   // JetStream refuses those too who have the permission
	silent bool   // nobody answers
}

const all = "a b node operator"

// consumer is the body of a request for a consumer, with the rest of its config.
func consumer(stream, config string) string {
	return fmt.Sprintf(`{"stream_name":%q,"config":{"ack_policy":"none","mem_storage":true,"inactive_threshold":1000000000,%s}}`, stream, config)
}

// matrix is ordered: what destroys something comes last.
func matrix(members map[string]member) []cell {
	return []cell{
		{name: "ask who I am", to: "$SYS.REQ.USER.INFO", may: all},
		{name: "publish work of A", to: "ph.work.p.A.j.{n}", may: "a operator"},
		{name: "publish work of B", to: "ph.work.p.B.j.{n}", may: "b operator"},
		{name: "store a result of A", to: "ph.res.A.j.{n}", may: "node operator"},
		{name: "store a result of B", to: "ph.res.B.j.{n}", may: "node operator"},
		{name: "store data of A", to: "ph.data.A.sum.{n}", may: "a node operator"},
		{name: "store data of B", to: "ph.data.B.sum.{n}", may: "b node operator"},
		{name: "upload code of A", to: "ph.code.A.sum.{n}", may: "a operator"},
		{name: "upload code of B", to: "ph.code.B.sum.{n}", may: "b operator"},
		{name: "write a job of A", to: "$KV.PH_JOBS.A.j", may: "a operator"},
		{name: "write a job of B", to: "$KV.PH_JOBS.B.j", may: "b operator"},
		{name: "write a node", to: "$KV.PH_NODES.n", may: "node operator"},
		{name: "write a try", to: "$KV.PH_TRIES.A.j.0", may: "node operator"},
		{name: "remove all jobs by a roll-up", to: "$KV.PH_JOBS.A.j", header: nats.Header{"Nats-Rollup": {"all"}}, may: "a operator", never: true},
		{name: "remove all code by a roll-up", to: "ph.code.A.sum.{n}", header: nats.Header{"Nats-Rollup": {"all"}}, may: "a operator", never: true},
		{name: "remove all nodes by a roll-up", to: "$KV.PH_NODES.n", header: nats.Header{"Nats-Rollup": {"all"}}, may: "node operator", never: true},
		{name: "say a word about A", to: "ph.word.A.j", may: "a operator", silent: true},
		{name: "say a word about B", to: "ph.word.B.j", may: "b operator", silent: true},

		{name: "get a result of A", to: "$JS.API.DIRECT.GET.PH_RES_A.ph.res.A.j.0", may: "a node operator"},
		{name: "get a result of B", to: "$JS.API.DIRECT.GET.PH_RES_B.ph.res.B.j.0", may: "b node operator"},
		{name: "get a result of B by its place", to: "$JS.API.DIRECT.GET.PH_RES_B", body: `{"seq":1}`, may: "operator"},
		{name: "get a result of B by the other request", to: "$JS.API.STREAM.MSG.GET.PH_RES_B", body: `{"seq":1}`, may: "operator"},
		{name: "get a job of A", to: "$JS.API.DIRECT.GET.KV_PH_JOBS.$KV.PH_JOBS.A.j", may: "a node operator"},
		{name: "get a job of B", to: "$JS.API.DIRECT.GET.KV_PH_JOBS.$KV.PH_JOBS.B.j", may: "b node operator"},
		{name: "get a job by its place", to: "$JS.API.DIRECT.GET.KV_PH_JOBS", body: `{"last_by_subj":"$KV.PH_JOBS.B.j"}`, may: "operator"},
		{name: "get a job by the other request", to: "$JS.API.STREAM.MSG.GET.KV_PH_JOBS", body: `{"last_by_subj":"$KV.PH_JOBS.B.j"}`, may: "operator"},
		{name: "get code of A", to: "$JS.API.DIRECT.GET.PH_CODE.ph.code.A.sum.0", may: "a node operator"},
		{name: "get code of B", to: "$JS.API.DIRECT.GET.PH_CODE.ph.code.B.sum.0", may: "b node operator"},
		{name: "get data of A", to: "$JS.API.DIRECT.GET.PH_DATA.ph.data.A.sum.0", may: "a node operator"},
		{name: "get data of B", to: "$JS.API.DIRECT.GET.PH_DATA.ph.data.B.sum.0", may: "b node operator"},
		{name: "get a try", to: "$JS.API.DIRECT.GET.KV_PH_TRIES.$KV.PH_TRIES.A.j.0", may: "node operator"},
		{name: "get work", to: "$JS.API.STREAM.MSG.GET.PH_WORK", body: `{"next_by_subj":"ph.work.>","seq":1}`, may: "operator"},

		{name: "follow results of A", to: "$JS.API.CONSUMER.CREATE.PH_RES_A.c{n}.ph.res.A.j.*", body: consumer("PH_RES_A", `"name":"c{n}","filter_subject":"ph.res.A.j.*"`), may: "a operator"},
		{name: "follow results of B", to: "$JS.API.CONSUMER.CREATE.PH_RES_B.c{n}.ph.res.B.j.*", body: consumer("PH_RES_B", `"name":"c{n}","filter_subject":"ph.res.B.j.*"`), may: "b operator"},
		{name: "follow results of B by a consumer of the old form", to: "$JS.API.CONSUMER.CREATE.PH_RES_B", body: consumer("PH_RES_B", `"filter_subject":"ph.res.B.j.*"`), may: "operator"},
		{name: "follow results of B by a durable consumer", to: "$JS.API.CONSUMER.DURABLE.CREATE.PH_RES_B.d", body: consumer("PH_RES_B", `"durable_name":"d","filter_subject":"ph.res.B.j.*"`), may: "operator"},
		{name: "list jobs of A", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}.$KV.PH_JOBS.A.*", body: consumer("KV_PH_JOBS", `"name":"c{n}","filter_subject":"$KV.PH_JOBS.A.*"`), may: "a operator"},
		{name: "list jobs of B", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}.$KV.PH_JOBS.B.*", body: consumer("KV_PH_JOBS", `"name":"c{n}","filter_subject":"$KV.PH_JOBS.B.*"`), may: "b operator"},
		{name: "list all jobs", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}.$KV.PH_JOBS.>", body: consumer("KV_PH_JOBS", `"name":"c{n}","filter_subject":"$KV.PH_JOBS.>"`), may: "operator"},
		{name: "list all jobs, without a filter", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}", body: consumer("KV_PH_JOBS", `"name":"c{n}"`), may: "operator"},
		{name: "list jobs of B under A's subject", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}.$KV.PH_JOBS.A.*", body: consumer("KV_PH_JOBS", `"name":"c{n}","filter_subject":"$KV.PH_JOBS.B.*"`), may: "a operator", never: true},
		{name: "list jobs of both under A's subject", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}.$KV.PH_JOBS.A.*", body: consumer("KV_PH_JOBS", `"name":"c{n}","filter_subjects":["$KV.PH_JOBS.A.*","$KV.PH_JOBS.B.*"]`), may: "a operator", never: true},
		{name: "list jobs of A to an API subject", to: "$JS.API.CONSUMER.CREATE.KV_PH_JOBS.c{n}.$KV.PH_JOBS.A.*", body: consumer("KV_PH_JOBS", `"name":"c{n}","filter_subject":"$KV.PH_JOBS.A.*","deliver_subject":"$JS.API.STREAM.DELETE.PH_RES_B"`), may: "a operator", never: true},
		{name: "list nodes", to: "$JS.API.CONSUMER.CREATE.KV_PH_NODES.c{n}.$KV.PH_NODES.>", body: consumer("KV_PH_NODES", `"name":"c{n}","filter_subject":"$KV.PH_NODES.>"`), may: "a b operator"},
		{name: "read work by a consumer", to: "$JS.API.CONSUMER.CREATE.PH_WORK.w_q.ph.work.q.>", body: `{"stream_name":"PH_WORK","config":{"durable_name":"w_q","filter_subject":"ph.work.q.>","ack_policy":"explicit"}}`, may: "node operator"},
		{name: "see how much waits", to: "$JS.API.CONSUMER.INFO.PH_WORK.w_p", may: all},
		{name: "remove the consumer of a pool", to: "$JS.API.CONSUMER.DELETE.PH_WORK.w_q", may: "operator"},
		{name: "acknowledge, old form", to: "$JS.ACK.PH_WORK.w_x.1.1.1.1.0", may: "node operator", silent: true},
		{name: "acknowledge, new form", to: "$JS.ACK._.hash.PH_WORK.w_x.1.1.1.1.0", may: "node operator", silent: true},

		{name: "see the state of A's results", to: "$JS.API.STREAM.INFO.PH_RES_A", may: "a operator"},
		{name: "see the state of B's results", to: "$JS.API.STREAM.INFO.PH_RES_B", may: "b operator"},
		{name: "see whose work waits", to: "$JS.API.STREAM.INFO.PH_WORK", body: `{"subjects_filter":">"}`, may: "operator"},
		{name: "see whose jobs there are", to: "$JS.API.STREAM.INFO.KV_PH_JOBS", body: `{"subjects_filter":">"}`, may: "operator"},
		{name: "list streams", to: "$JS.API.STREAM.NAMES", may: "operator"},
		{name: "list consumers of the jobs", to: "$JS.API.CONSUMER.NAMES.KV_PH_JOBS", may: "operator"},
		{name: "make a stream", to: "$JS.API.STREAM.CREATE.MINE", body: `{"name":"MINE","subjects":["mine"],"max_msgs":1}`, may: "operator"},
		{name: "copy results of B into a stream", to: "$JS.API.STREAM.CREATE.COPY", body: `{"name":"COPY","sources":[{"name":"PH_RES_B"}],"max_msgs":1}`, may: "operator"},
		{name: "snapshot results of B", to: "$JS.API.STREAM.SNAPSHOT.PH_RES_B", body: `{"deliver_subject":"_INBOX_x"}`, may: "operator"},

		{name: "hear words about A", sub: "ph.word.A.*", may: "a node operator"},
		{name: "hear words about B", sub: "ph.word.B.*", may: "b node operator"},
		{name: "hear all words", sub: "ph.word.>", may: "node operator"},
		{name: "hear A's answers", sub: "_INBOX_" + members["a"].Key + ".>", may: "a operator"},
		{name: "hear the node's answers", sub: "_INBOX_" + members["node"].Key + ".>", may: "node operator"},
		{name: "hear answers to those without a key", sub: "_INBOX.>", may: "operator"},
		{name: "hear everything", sub: ">", may: "operator"},
		{name: "hear work", sub: "ph.work.>", may: "operator"},
		{name: "hear results of B", sub: "ph.res.B.>", may: "operator"},
		{name: "hear jobs of B", sub: "$KV.PH_JOBS.B.*", may: "operator"},
		{name: "hear requests to JetStream", sub: "$JS.API.>", may: "operator"},

		{name: "delete a message of the work", to: "$JS.API.STREAM.MSG.DELETE.PH_WORK", body: `{"seq":2}`, may: "operator"},
		{name: "purge the work of B", to: "$JS.API.STREAM.PURGE.PH_WORK", body: `{"filter":"ph.work.*.B.>"}`, may: "operator"},
		{name: "purge the jobs", to: "$JS.API.STREAM.PURGE.KV_PH_JOBS", may: "operator"},
		{name: "purge results of A", to: "$JS.API.STREAM.PURGE.PH_RES_A", body: `{"filter":"ph.res.A.j.*"}`, may: "a operator"},
		{name: "purge results of B", to: "$JS.API.STREAM.PURGE.PH_RES_B", body: `{"filter":"ph.res.B.j.*"}`, may: "b operator"},
		{name: "delete the code", to: "$JS.API.STREAM.DELETE.PH_CODE", may: "operator"},
		{name: "delete the results of A", to: "$JS.API.STREAM.DELETE.PH_RES_A", may: "operator"},
		{name: "delete the results of B", to: "$JS.API.STREAM.DELETE.PH_RES_B", may: "operator"},
		{name: "delete the work", to: "$JS.API.STREAM.DELETE.PH_WORK", may: "operator"},
	}
}

// outcome says what came of an action.
type outcome string

const (
	allowed  outcome = "allowed"
	violates outcome = "a permissions violation"
)

// do does an action of a cell on a connection of its own.
func (c *cell) do(t *testing.T, url string, m member, n int) outcome {
	t.Helper()
	nc := dial(t, url, m)
	defer nc.Close()
	var answer *nats.Subscription
	var err error
	if c.sub != "" {
		_, err = nc.SubscribeSync(c.sub)
	} else {
		msg := &nats.Msg{Subject: strings.ReplaceAll(c.to, "{n}", fmt.Sprint(n)), Reply: nc.NewInbox(), Data: []byte(strings.ReplaceAll(c.body, "{n}", fmt.Sprint(n))), Header: c.header}
		if answer, err = nc.SubscribeSync(msg.Reply); err == nil {
			err = nc.PublishMsg(msg)
		}
	}
	if err = errors.Join(err, nc.FlushTimeout(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	switch err := nc.LastError(); { // the server's error comes before its answer to Flush
	case errors.Is(err, nats.ErrPermissionViolation):
		return violates
	case err != nil:
		return outcome(err.Error())
	case c.sub != "" || c.silent:
		return allowed
	}
	got, err := answer.NextMsg(5 * time.Second)
	if err != nil {
		return outcome(err.Error())
	}
	if status := got.Header.Get("Status"); status != "" && status != "404" {
		return outcome("status " + status)
	}
	var said struct {
		Error *struct{ Description string }
	}
	if json.Unmarshal(got.Data, &said) == nil && said.Error != nil {
		return outcome(said.Error.Description)
	}
	return allowed
}

// holds checks all cells on a server that has the streams.
func holds(t *testing.T, url string, members map[string]member) {
	t.Helper()
	leases(t, url, members)
	key, err := nats.NkeyOptionFromSeed(members["stranger"].file)
	if err != nil {
		t.Fatal(err)
	}
	if nc, err := nats.Connect(url, key); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("unknown key: got %v, want %v", err, nats.ErrAuthorization)
	}
	if nc, err := nats.Connect(url); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("no key: got %v, want %v", err, nats.ErrAuthorization)
	}
	n, cells := 100, matrix(members)
	for i := range cells {
		c := &cells[i]
		for name := range strings.FieldsSeq(all) {
			n++
			got := c.do(t, url, members[name], n)
			may := slices.Contains(strings.Fields(c.may), name)
			switch {
			case may && c.never && (got == allowed || got == violates):
				t.Errorf("%s: %s: got %s, want that JetStream refuses it", c.name, name, got)
			case may && !c.never && got != allowed, !may && got != violates:
				t.Errorf("%s: %s: got %q, want it %s", c.name, name, got, map[bool]string{true: "allowed", false: "refused"}[may])
			}
		}
	}
	t.Logf("%d actions of %d roles", len(cells), len(strings.Fields(all)))
}

// leases lets A offer a batch, and the node take it and acknowledge it in whatever form the server wants that.
func leases(t *testing.T, url string, members map[string]member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, node := dial(t, url, members["a"]), dial(t, url, members["node"])
	defer a.Close()
	defer node.Close()
	js, err := jetstream.New(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "ph.work.p.A.j.0", []byte("batch")); err != nil {
		t.Fatal(err)
	}
	if js, err = jetstream.New(node); err != nil {
		t.Fatal(err)
	}
	cons, err := js.CreateConsumer(ctx, "PH_WORK", jetstream.ConsumerConfig{Durable: "w_p", FilterSubject: "ph.work.p.>", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	m, err := cons.Next(jetstream.FetchContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Log("acknowledges at", m.Reply())
	if err := m.DoubleAck(ctx); err != nil {
		t.Errorf("acknowledge: %v", err)
	}
	if info, err := cons.Info(ctx); err != nil || info.NumAckPending != 0 {
		t.Errorf("after the acknowledgement: got %+v, %v, want nothing pending", info, err)
	}
}

func TestPermissions(t *testing.T) {
	members := newMembers(t)
	s, err := server.Open(server.Config{Store: t.TempDir(), Listen: "127.0.0.1:0", Users: users(members)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if err := s.MakeStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, s.URL(), members)
}

func TestPermissionsOfAStockServer(t *testing.T) {
	binary, err := exec.LookPath("nats-server")
	if err != nil {
		binary = filepath.Join(t.TempDir(), "nats-server")
		if out, err := exec.Command("go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	for name, flags := range map[string]string{"as it comes": "", "new form of acknowledgements": "feature_flags { js_ack_fc_v2: true }\n"} {
		t.Run(name, func(t *testing.T) {
			members := newMembers(t)
			url := stock(t, binary, users(members), flags)
			for _, tenant := range []string{"A", "B"} { // the operator makes the streams
				c, err := cluster.Connect(t.Context(), cluster.Config{URL: url, KeyFile: members["operator"].file, Tenant: tenant})
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			holds(t, url, members)
		})
	}
}

// stock starts a nats-server that has users, and returns its address.
func stock(t *testing.T, binary string, list []server.User, flags string) string {
	t.Helper()
	text, err := server.ConfigText(list)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "server.conf")
	text = fmt.Sprintf("listen: \"127.0.0.1:-1\"\nports_file_dir: %q\njetstream { store_dir: %q }\n%s%s", dir, filepath.Join(dir, "store"), flags, text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-c", file)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		t.Log("nats-server:", <-ended)
	})
	ports := filepath.Join(dir, fmt.Sprintf("nats-server_%d.ports", cmd.Process.Pid))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("nats-server ended: %v\n%s", err, text)
		case <-t.Context().Done():
			t.Fatal("nats-server listens nowhere")
		case <-tick.C:
		}
		var said struct{ NATS []string }
		if content, err := os.ReadFile(ports); err == nil && json.Unmarshal(content, &said) == nil && len(said.NATS) > 0 {
			return said.NATS[0]
		}
	}
}
