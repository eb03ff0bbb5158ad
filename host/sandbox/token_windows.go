package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// token is what workers at level basic run with: the host's, without privileges, with its groups good for refusals alone, with a second list that
// must permit each access as well, and at low integrity, so that what has no label cannot be written to.
//
// The recipe is that of Chromium's sandbox for processes of limited users (sandbox/win, USER_LIMITED at INTEGRITY_LEVEL_LOW).
type token struct{ windows.Token }

// createRestrictedToken is not among those of x/sys/windows.
var createRestrictedToken = windows.NewLazySystemDLL("advapi32.dll").NewProc("CreateRestrictedToken")

// disableMaxPrivilege takes every privilege but that to pass folders, which all programs count on (winnt.h).
const disableMaxPrivilege = 1

// kept are groups that everybody is in. What they may read, workers may read.
var kept = []windows.WELL_KNOWN_SID_TYPE{windows.WinWorldSid, windows.WinBuiltinUsersSid, windows.WinAuthenticatedUserSid, windows.WinInteractiveSid}

// required is the second list, beside the session's own: an access is permitted if it is to one of these too. The user is not
// among them, so that what is the user's alone is closed.
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
		case g.Attributes&windows.SE_GROUP_INTEGRITY != 0: // no group, but a label
		case g.Attributes&windows.SE_GROUP_LOGON_ID == windows.SE_GROUP_LOGON_ID: // what a session's programs share, its desktop for one
			restricting = append(restricting, windows.SIDAndAttributes{Sid: g.Sid})
		case !contains(keep, g.Sid):
			refusing = append(refusing, windows.SIDAndAttributes{Sid: g.Sid})
		}
	}
	t := &token{}
	ok, _, err := createRestrictedToken.Call(uintptr(own), disableMaxPrivilege,
		uintptr(len(refusing)), uintptr(unsafe.Pointer(unsafe.SliceData(refusing))),
		0, 0, // privileges by name
		uintptr(len(restricting)), uintptr(unsafe.Pointer(unsafe.SliceData(restricting))),
		uintptr(unsafe.Pointer(&t.Token)))
	if ok == 0 {
		return nil, fmt.Errorf("restrict the host's token: %w", err)
	}
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
