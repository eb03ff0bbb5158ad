package launcher

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fill gives each field a different value.
func fill(v reflect.Value, next *uint64) {
	*next++
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, next)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(v.Index(i), next)
		}
	case reflect.String:
		v.SetString("text " + decimal(*next))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-int64(*next))
	default:
		v.SetUint(*next % 256)
	}
}

func messages() map[string]func() message {
	return map[string]func() message{
		"spec": func() message { return &Spec{} }, "failure": func() message { return &Failure{} }, "trial": func() message { return &Trial{} },
	}
}

// A message arrives as it was sent, with all its fields.
func TestMessagesArrive(t *testing.T) {
	for name, empty := range messages() {
		t.Run(name, func(t *testing.T) {
			want, got, next := empty(), empty(), uint64(0)
			fill(reflect.ValueOf(want).Elem(), &next)
			if err := Parse(Bytes(want), got); err != nil {
				t.Fatalf("Parse: got the error %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("message (-sent +arrived):\n%s", diff)
			}
		})
	}
}

func TestParseRefusesWhatIsNoMessage(t *testing.T) {
	for name, empty := range messages() {
		t.Run(name, func(t *testing.T) {
			full, next := empty(), uint64(0)
			fill(reflect.ValueOf(full).Elem(), &next)
			b := Bytes(full)
			for n := range b {
				if err := Parse(b[:n], empty()); err == nil {
					t.Fatalf("Parse of %d bytes of %d: got no error", n, len(b))
				}
			}
			if err := Parse(append(b, 0), empty()); err == nil {
				t.Error("Parse of a byte more: got no error")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	spec, next := &Spec{}, uint64(0)
	fill(reflect.ValueOf(spec).Elem(), &next)
	f.Add(Bytes(spec))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, again := &Spec{}, &Spec{}
		if Parse(b, got) != nil {
			return
		}
		if err := Parse(Bytes(got), again); err != nil {
			t.Fatalf("Parse of what was parsed: got the error %v", err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("message (-parsed +parsed again):\n%s", diff)
		}
	})
}

// The constants are those of golang.org/x/sys/unix, which come from the kernel's headers.
func TestNumbers(t *testing.T) {
	for name, n := range map[string]struct{ got, want int }{
		"open_tree":                       {sysOpenTree, unix.SYS_OPEN_TREE},
		"move_mount":                      {sysMoveMount, unix.SYS_MOVE_MOUNT},
		"close_range":                     {sysCloseRange, unix.SYS_CLOSE_RANGE},
		"mount_setattr":                   {sysMountSetattr, unix.SYS_MOUNT_SETATTR},
		"landlock_create_ruleset":         {sysLandlockCreate, unix.SYS_LANDLOCK_CREATE_RULESET},
		"landlock_add_rule":               {sysLandlockAddRule, unix.SYS_LANDLOCK_ADD_RULE},
		"landlock_restrict_self":          {sysLandlockRestrict, unix.SYS_LANDLOCK_RESTRICT_SELF},
		"AT_FDCWD":                        {atFDCWD, unix.AT_FDCWD},
		"AT_EMPTY_PATH":                   {atEmptyPath, unix.AT_EMPTY_PATH},
		"AT_RECURSIVE":                    {atRecursive, unix.AT_RECURSIVE},
		"OPEN_TREE_CLONE":                 {openTreeClone, unix.OPEN_TREE_CLONE},
		"O_CLOEXEC as OPEN_TREE_CLOEXEC":  {unix.O_CLOEXEC, unix.OPEN_TREE_CLOEXEC},
		"MOVE_MOUNT_F_EMPTY_PATH":         {moveMountEmptyPath, unix.MOVE_MOUNT_F_EMPTY_PATH},
		"MOUNT_ATTR_RDONLY":               {mountAttrReadOnly, unix.MOUNT_ATTR_RDONLY},
		"MOUNT_ATTR_NOSUID":               {mountAttrNoSUID, unix.MOUNT_ATTR_NOSUID},
		"MOUNT_ATTR_NODEV":                {mountAttrNoDev, unix.MOUNT_ATTR_NODEV},
		"MOUNT_ATTR_NOEXEC":               {mountAttrNoExec, unix.MOUNT_ATTR_NOEXEC},
		"O_PATH":                          {oPath, unix.O_PATH},
		"CLOSE_RANGE_CLOEXEC":             {closeRangeCloexec, unix.CLOSE_RANGE_CLOEXEC},
		"CLONE_NEWCGROUP":                 {cloneNewCgroup, unix.CLONE_NEWCGROUP},
		"MAP_FIXED_NOREPLACE":             {mapFixedNoReplace, unix.MAP_FIXED_NOREPLACE},
		"LANDLOCK_RULE_PATH_BENEATH":      {landlockPathBeneath, unix.LANDLOCK_RULE_PATH_BENEATH},
		"SECCOMP_SET_MODE_FILTER":         {seccompFilter, unix.SECCOMP_SET_MODE_FILTER},
		"POLLHUP":                         {pollHup, unix.POLLHUP},
		"POLLRDHUP":                       {pollReadHup, unix.POLLRDHUP},
		"PR_SET_NO_NEW_PRIVS":             {prSetNoNewPrivs, unix.PR_SET_NO_NEW_PRIVS},
		"PR_CAP_AMBIENT":                  {prCapAmbient, unix.PR_CAP_AMBIENT},
		"PR_CAP_AMBIENT_CLEAR_ALL":        {prCapAmbientClearAll, unix.PR_CAP_AMBIENT_CLEAR_ALL},
		"_LINUX_CAPABILITY_VERSION_3":     {capabilityVersion, unix.LINUX_CAPABILITY_VERSION_3},
		"size of mount_attr":              {int(unsafe.Sizeof(mountAttr{})), int(unsafe.Sizeof(unix.MountAttr{}))},
		"size of sock_filter":             {int(unsafe.Sizeof(sockFilter{})), int(unsafe.Sizeof(unix.SockFilter{}))},
		"size as it is counted":           {filterBytes, int(unsafe.Sizeof(unix.SockFilter{}))},
		"size of sock_fprog":              {int(unsafe.Sizeof(sockFprog{})), int(unsafe.Sizeof(unix.SockFprog{}))},
		"size of the capability's header": {int(unsafe.Sizeof(capHeader{})), int(unsafe.Sizeof(unix.CapUserHeader{}))},
		"size of the capability's data":   {int(unsafe.Sizeof(capData{})), int(unsafe.Sizeof(unix.CapUserData{}))},
	} {
		if n.got != n.want {
			t.Errorf("%s: got %#x, want %#x", name, n.got, n.want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 7: "7", 10: "10", 16777216: "16777216", 1<<64 - 1: "18446744073709551615"} {
		if got := decimal(n); got != want {
			t.Errorf("decimal(%d): got %s, want %s", n, got, want)
		}
	}
}
