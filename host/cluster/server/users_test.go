//go:build !noserver

package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parhost/parhost/host/cluster/server"
)

func TestUsersAreReadAsTheyWereWritten(t *testing.T) {
	list, path := users(newMembers(t)), filepath.Join(t.TempDir(), "users.json")
	if err := server.WriteUsers(path, list); err != nil {
		t.Fatal(err)
	}
	if got, err := server.ReadUsers(path); err != nil || !slices.Equal(got, list) {
		t.Errorf("got %v, %v, want %v", got, err, list)
	}
}

func TestReadUsersNamesTheEntryAndTheCure(t *testing.T) {
	seed, key, err := server.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	node := `{"key":"` + key + `","role":"node"}`
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"no JSON":                    {`users`, []string{"it has to be like"}},
		"unknown field of the file":  {`{"user":[]}`, []string{`unknown field "user"`}},
		"unknown field of an entry":  {`{"users":[{"key":"` + key + `","roles":"node"}]}`, []string{`unknown field "roles"`}},
		"more than one object":       {`{"users":[` + node + `]} {}`, []string{"more after the end"}},
		"nobody":                     {`{"users":[]}`, []string{"add an entry"}},
		"bad key":                    {`{"users":[` + node + `,{"key":"UABC","role":"node"}]}`, []string{"entry 2", `"UABC"`, "begins with U"}},
		"unknown role":               {`{"users":[{"key":"` + key + `","role":"admin"}]}`, []string{"entry 1", `"admin"`, `"operator"`}},
		"submitter without a tenant": {`{"users":[{"key":"` + key + `","role":"submitter"}]}`, []string{"entry 1", `add "tenant"`}},
		"tenant of several words":    {`{"users":[{"key":"` + key + `","role":"submitter","tenant":"a.>"}]}`, []string{"entry 1", `"a.>"`, "letters"}},
		"node with a tenant":         {`{"users":[{"key":"` + key + `","role":"node","tenant":"a"}]}`, []string{"entry 1", `remove "tenant"`}},
		"same key twice":             {`{"users":[` + node + `,` + node + `]}`, []string{"entry 2", "entry 1", "remove"}},
		"seed":                       {`{"users":[{"key":"` + string(seed) + `","role":"node"}]}`, []string{"entry 1", "secret", "replace"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "users.json")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := server.ReadUsers(path)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range append(test.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), string(seed)) {
				t.Error("the error has the secret")
			}
		})
	}
}

// The server takes any subject as that of an answer, but for those of JetStream's own: this is the limit that the comment of User states. If the server
// learns to refuse it, this test fails, and the comment can go.
func TestAnAnswerGoesWhereItsReaderMayNotPublish(t *testing.T) {
	members := newMembers(t)
	s, err := server.Open(server.Config{Store: t.TempDir(), Listen: "127.0.0.1:0", Users: users(members)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	if err := s.MakeStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, b := dial(t, s.URL(), members["a"]), dial(t, s.URL(), members["b"])
	defer a.Close()
	defer b.Close()
	if _, err := a.Request("$KV.PH_JOBS.A.j", []byte("junk"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	const get = "$JS.API.DIRECT.GET.PH_RES_B.ph.res.B.j.0"
	if err := a.PublishRequest("$JS.API.DIRECT.GET.KV_PH_JOBS.$KV.PH_JOBS.A.j", "ph.res.B.j.0", nil); err != nil {
		t.Fatal(err)
	}
	var m *nats.Msg
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if m, err = b.Request(get, nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "junk" {
			break
		}
	}
	if string(m.Data) != "junk" {
		t.Errorf("got %q %v, want what A had stored", m.Data, m.Header)
	}
	// An answer to JetStream itself would be a request with the server's rights.
	if err := a.PublishRequest("$JS.API.DIRECT.GET.KV_PH_JOBS.$KV.PH_JOBS.A.j", "$JS.API.STREAM.DELETE.PH_RES_B", nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(); err != nil || a.LastError() == nil {
		t.Errorf("answer to JetStream: got %v, %v, want that the server refuses it", err, a.LastError())
	}
}
