package launcher

// Constants that package syscall lacks, from the kernel's headers (include/uapi). System calls from 424 on have the same number on all architectures
// except Alpha. A test compares all of them with golang.org/x/sys/unix.
const (
	sysOpenTree          = 428
	sysMoveMount         = 429
	sysCloseRange        = 436
	sysMountSetattr      = 442
	sysLandlockAddRule   = 445
	sysLandlockCreate    = 444
	sysLandlockRestrict  = 446
	atFDCWD              = -100
	atEmptyPath          = 0x1000
	atRecursive          = 0x8000
	openTreeClone        = 1
	moveMountEmptyPath   = 4
	mountAttrReadOnly    = 1
	mountAttrNoSUID      = 2
	mountAttrNoDev       = 4
	mountAttrNoExec      = 8
	oPath                = 0x200000
	closeRangeCloexec    = 4
	cloneNewCgroup       = 0x2000000
	landlockPathBeneath  = 1
	mapFixedNoReplace    = 0x100000
	seccompFilter        = 1
	pollHup              = 0x10
	pollReadHup          = 0x2000
	prSetNoNewPrivs      = 38
	prCapAmbient         = 47
	prCapAmbientClearAll = 4
	capabilityVersion    = 0x20080522
)

// mountAttr is struct mount_attr.
type mountAttr struct {
	set, clear, propagation, userns uint64
}

// pathRule is struct landlock_path_beneath_attr, which is packed.
type pathRule struct {
	access uint64
	parent int32
}

// sockFilter is struct sock_filter, and sockFprog struct sock_fprog.
type sockFilter struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

type sockFprog struct {
	length uint16
	filter *sockFilter
}

// filterBytes is the size of a sockFilter.
const filterBytes = 8

// capHeader and capData are the structs of capset(2).
type capHeader struct {
	version uint32
	pid     int32
}

type capData struct {
	effective, permitted, inheritable uint32
}
