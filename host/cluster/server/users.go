//go:build !noserver

package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/parhost/parhost/host/cluster/internal/carrier"
)

// Role says what a user may do.
type Role string

// The roles.
const (
	RoleSubmitter Role = "submitter" // runs jobs of its tenant, and uploads plugins
	RoleNode      Role = "node"      // takes batches of every tenant, and stores their results
	RoleOperator  Role = "operator"  // everything
)

// User is somebody who may connect, known by the public part of an NKEY.
//
// Permissions keep the users of one tenant from what belongs to another, by every request that names it. They do not limit where a user lets the server send an
// answer, so a submitter who knows the name of another tenant's job can have junk stored there, which delays that job. Tenants that attack each other need
// servers of their own.
type User struct {
	Key    string `json:"key"` // public, such as UABC…
	Role   Role   `json:"role"`
	Tenant string `json:"tenant,omitempty"` // of a submitter
}

// NewKey makes a key. The seed is secret: it belongs into the file that a submitter or node is given. public is what a [User] has.
func NewKey() (seed []byte, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", err
	}
	defer pair.Wipe()
	if public, err = pair.PublicKey(); err != nil {
		return nil, "", err
	}
	kept, err := pair.Seed()
	return bytes.Clone(kept), public, err
}

// usersFile is what a file of users has.
type usersFile struct {
	Users []User `json:"users"`
}

// ReadUsers reads a file of users, such as
//
//	{"users": [{"key": "UABC…", "role": "submitter", "tenant": "a"}]}
//
// Fields that it does not know are errors, because one that is misspelt could have been meant to forbid something.
func ReadUsers(path string) ([]User, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	var f usersFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err = d.Decode(&f); err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the end; a file has one object")
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("users %q: %w; it has to be like %s", path, err, `{"users": [{"key": "U…", "role": "submitter", "tenant": "a"}]}`)
	case len(f.Users) == 0:
		return nil, fmt.Errorf("users %q: it lists nobody, so nobody could connect; add an entry to \"users\"", path)
	}
	if err := checkUsers(f.Users); err != nil {
		return nil, fmt.Errorf("users %q: %w", path, err)
	}
	return f.Users, nil
}

// WriteUsers writes a file of users.
func WriteUsers(path string, users []User) error {
	if err := checkUsers(users); err != nil {
		return fmt.Errorf("users %q: %w", path, err)
	}
	text, err := json.MarshalIndent(usersFile{users}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

var tenantForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`) })

// checkUsers names the first entry that cannot be used, and says what to do about it.
func checkUsers(list []User) error {
	numbers := map[string]int{}
	for i, u := range list {
		problem := ""
		switch first := numbers[u.Key]; {
		case strings.HasPrefix(u.Key, "SU"):
			return fmt.Errorf("entry %d: its key is a secret seed; replace it by the public key, which begins with U, and make a new pair if others have seen this file", i+1)
		case !nkeys.IsValidPublicUserKey(u.Key):
			problem = "is no public key of a user; one begins with U and has 56 letters and digits"
		case first > 0:
			problem = fmt.Sprintf("is the one of entry %d; remove one of both", first)
		case !slices.Contains([]Role{RoleSubmitter, RoleNode, RoleOperator}, u.Role):
			problem = fmt.Sprintf("has the role %q; it has to be %q, %q or %q", u.Role, RoleSubmitter, RoleNode, RoleOperator)
		case u.Role == RoleSubmitter && u.Tenant == "":
			problem = "is a submitter's and has no tenant; add \"tenant\""
		case u.Role != RoleSubmitter && u.Tenant != "":
			problem = fmt.Sprintf("has the tenant %q, and a %s has none; remove \"tenant\"", u.Tenant, u.Role)
		case u.Tenant != "" && !tenantForm().MatchString(u.Tenant):
			problem = fmt.Sprintf("has the tenant %q; it has to be 1 to 64 letters, digits, - and _", u.Tenant)
		}
		if problem != "" {
			return fmt.Errorf("entry %d: the key %q %s", i+1, u.Key, problem)
		}
		numbers[u.Key] = i + 1
	}
	return nil
}

// tenants returns the tenants of users, each once.
func tenants(list []User) []string {
	var names []string
	for _, u := range list {
		if u.Tenant != "" {
			names = append(names, u.Tenant)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// grants returns what a user may do, or nil if that is everything.
func grants(u User) *carrier.Grants {
	var g carrier.Grants
	switch u.Role {
	case RoleSubmitter:
		g = carrier.Submitter(u.Tenant, u.Key)
	case RoleNode:
		g = carrier.Node(u.Key)
	default:
		return nil
	}
	return &g
}

// users returns the server's form of users.
func users(list []User) ([]*server.NkeyUser, error) {
	if err := checkUsers(list); err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	var keys []*server.NkeyUser
	for _, u := range list {
		key := &server.NkeyUser{Nkey: u.Key}
		if g := grants(u); g != nil {
			key.Permissions = &server.Permissions{
				Publish: &server.SubjectPermission{Allow: g.Publish}, Subscribe: &server.SubjectPermission{Allow: g.Subscribe},
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// ConfigText returns the part of a nats-server's config file that gives users the permissions that they have here. The file also needs "jetstream", and its
// streams are made by the first operator who connects as each tenant.
func ConfigText(list []User) (string, error) {
	if err := checkUsers(list); err != nil {
		return "", fmt.Errorf("users: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "max_payload: %d\nauthorization {\n  users = [\n", maxPayload)
	for _, u := range list {
		fmt.Fprintf(&b, "    # %s %s\n    {\n      nkey: %s\n", u.Role, u.Tenant, u.Key)
		if g := grants(u); g != nil {
			b.WriteString("      permissions: {\n")
			for _, p := range []struct {
				name     string
				subjects []string
			}{{"publish", g.Publish}, {"subscribe", g.Subscribe}} {
				fmt.Fprintf(&b, "        %s: [\n", p.name)
				for _, subject := range p.subjects {
					fmt.Fprintf(&b, "          %q\n", subject) // quoted, because $ would begin a variable
				}
				b.WriteString("        ]\n")
			}
			b.WriteString("      }\n")
		}
		b.WriteString("    }\n")
	}
	b.WriteString("  ]\n}\n")
	return b.String(), nil
}
