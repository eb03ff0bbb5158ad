package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// token is the access token of workers at level basic. It is the host's token without privileges. Its groups can only deny access, a second list of
// groups must permit each access as well, and it has low integrity, so that a worker cannot write to objects without a label.
//
// This is close to Chromium's sandbox for processes of limited users (sandbox/win, USER_LIMITED at INTEGRITY_LEVEL_LOW), but without the session's
// group, because workers have no windows.
type token struct {
	windows.Token
	// process says who may access a worker process: the host's user and the system. Without it the programs of a session may read and end one
	// another.
	process *windows.SECURITY_DESCRIPTOR
}

// createRestrictedToken is a function that x/sys/windows lacks.
var createRestrictedToken = windows.NewLazySystemDLL("advapi32.dll").NewProc("CreateRestrictedToken")

// disableMaxPrivilege removes every privilege except the one to traverse folders, which all programs rely on (winnt.h).
const disableMaxPrivilege = 1

// kept are groups that every user is in. Workers may read what these groups may read.
var kept = []windows.WELL_KNOWN_SID_TYPE{windows.WinWorldSid, windows.WinBuiltinUsersSid, windows.WinAuthenticatedUserSid, windows.WinInteractiveSid}

// required is the second list, to which each box adds a group of its own: an access is permitted only if one of these groups has it too. The user is
// not in the list, so what only the user may access stays closed. The session is not in it either, because programs of a session may end one another.
var required = []windows.WELL_KNOWN_SID_TYPE{windows.WinWorldSid, windows.WinBuiltinUsersSid, windows.WinRestrictedCodeSid}

func openToken() (_ *token, err error) {
	var own windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_DUPLICATE|windows.TOKEN_ASSIGN_PRIMARY|windows.TOKEN_QUERY|windows.TOKEN_ADJUST_DEFAULT, &own); err != nil {
		return nil, fmt.Errorf("open the host's token: %w", err)
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	keep, err := sids(kept)
	if err != nil {
		return nil, err
	}
	restricting, err := sids(required)
	if err != nil {
		return nil, err
	}
	groups, err := own.GetTokenGroups()
	if err != nil {
		return nil, fmt.Errorf("read the host's groups: %w", err)
	}
	var refusing []windows.SIDAndAttributes
	for _, g := range groups.AllGroups() {
		switch {
		case g.Attributes&windows.SE_GROUP_INTEGRITY != 0: // a label, not a group
		case g.Attributes&windows.SE_GROUP_LOGON_ID == windows.SE_GROUP_LOGON_ID: // cannot be made deny-only
		case !contains(keep, g.Sid):
			refusing = append(refusing, windows.SIDAndAttributes{Sid: g.Sid})
		}
	}
	user, err := own.GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("read the host's user: %w", err)
	}
	box, err := windows.StringToSid(fmt.Sprintf("S-1-5-21-%d-%d-%d-1000", rand.Uint32(), rand.Uint32(), rand.Uint32()))
	if err != nil {
		return nil, err
	}
	restricting = append(restricting, windows.SIDAndAttributes{Sid: box})
	t := &token{}
	all := fmt.Sprintf("D:(A;;GA;;;%s)(A;;GA;;;SY)", user.User.Sid)
	if t.process, err = windows.SecurityDescriptorFromString(all); err != nil {
		return nil, err
	}
	ok, _, err := createRestrictedToken.Call(uintptr(own), disableMaxPrivilege,
		uintptr(len(refusing)), uintptr(unsafe.Pointer(unsafe.SliceData(refusing))),
		0, 0, // no privileges by name
		uintptr(len(restricting)), uintptr(unsafe.Pointer(unsafe.SliceData(restricting))),
		uintptr(unsafe.Pointer(&t.Token)))
	if ok == 0 {
		return nil, fmt.Errorf("restrict the host's token: %w", err)
	}
	// When a worker reopens an object that it made, the second list must permit that. Each pipe is reopened that way.
	objects, err := windows.SecurityDescriptorFromString(all + fmt.Sprintf("(A;;GA;;;%s)", box))
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	acl, _, err := objects.DACL()
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	defaults := struct{ acl *windows.ACL }{acl} // TOKEN_DEFAULT_DACL
	if err := windows.SetTokenInformation(t.Token, windows.TokenDefaultDacl, (*byte)(unsafe.Pointer(&defaults)), uint32(unsafe.Sizeof(defaults))); err != nil {
		return nil, errors.Join(fmt.Errorf("permit workers what they make themselves: %w", err), t.Close())
	}
	runtime.KeepAlive(objects)
	low, err := windows.CreateWellKnownSid(windows.WinLowLabelSid)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	label := windows.Tokenmandatorylabel{Label: windows.SIDAndAttributes{Sid: low, Attributes: windows.SE_GROUP_INTEGRITY}}
	if err := windows.SetTokenInformation(t.Token, windows.TokenIntegrityLevel, (*byte)(unsafe.Pointer(&label)), label.Size()); err != nil {
		return nil, errors.Join(fmt.Errorf("lower the token's integrity: %w", err), t.Close())
	}
	return t, nil
}

func (t *token) close() { _ = t.Close() }

func sids(kinds []windows.WELL_KNOWN_SID_TYPE) ([]windows.SIDAndAttributes, error) {
	var list []windows.SIDAndAttributes
	for _, kind := range kinds {
		sid, err := windows.CreateWellKnownSid(kind)
		if err != nil {
			return nil, fmt.Errorf("well-known group %d: %w", kind, err)
		}
		list = append(list, windows.SIDAndAttributes{Sid: sid})
	}
	return list, nil
}

func contains(list []windows.SIDAndAttributes, sid *windows.SID) bool {
	for _, e := range list {
		if e.Sid.Equals(sid) {
			return true
		}
	}
	return false
}
