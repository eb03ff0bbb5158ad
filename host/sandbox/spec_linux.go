package sandbox

// initName is what the launcher is called as: the host's own program, which then does nothing but build the walls.
const initName = "parhost-sandbox-init"

// A spec is what the host tells its launcher to do.
type spec struct {
	Level Level

	Path string // what to execute by name, if Exec is -1
	Exec int    // the descriptor to execute, which Place says where to put
	Args []string
	Env  []string
	Dir  string // to start in, empty to stay

	Keep    int    // so many descriptors from 3 on stay open
	Place   int    // where the descriptor to execute is put: above the limit of descriptors
	UID     int    // the user and group to become, -1 to stay
	Sockets string // the plugin's folder for its socket
	Spaces  bool   // namespaces are there, to be furnished

	Binds    []mount
	TmpBytes int64
	Limits   []limit
	Landlock int    // the ABI to use, 0 for none
	Net      bool   // the network stays open
	Filter   []byte // for seccomp, empty for none

	Rehearse bool // do not execute anything, but try the walls and tell
}

// A mount is a bind in a strict worker's root.
type mount struct {
	Source, Target string
	FD             int // of a copy that the host has made, -1 for none
	Write          bool
}

// A limit is one of setrlimit(2).
type limit struct {
	Resource int
	Value    uint64
}

// What a launcher says to its host is one byte, and what goes with it.
const (
	sayFolder = 'f' // the folder of the socket, as a descriptor
	sayError  = 'e' // and a failure
	sayTried  = 't' // and a trial
	sayReady  = 'r' // all is done but the last call
)

// A failure is a launcher's last word.
type failure struct {
	Stage   string
	Errno   int // 0 if it is no such error
	Message string
}

// A trial is what a launcher met that tried the walls that it had built; the numbers are those of errors, 0 where nothing stopped it.
type trial struct {
	File   int // reading its own program's folder
	Socket int // making an internet socket
	Signal int // signalling its parent
	UID    int
	PID    int
}

// messageBytes bounds each message between host and launcher.
const messageBytes = 16 << 20
