package launcher

// Name is the launcher's argv[0].
const Name = "parhost-sandbox-init"

// Variable is the environment variable that makes a process a launcher. Its value is the descriptor number of the control socket. It is not an
// argument, because package os owns the arguments. A plugin never has the variable: it gets the environment that its host has sent.
const Variable = "PARHOST_SANDBOX_CONTROL"

// Sockets is the folder for the socket of a plugin with a private root.
const Sockets = "/run/plugin"

// One filter is made for many processes, but each process may signal only itself, and may be executed only by its launcher. So the filter contains
// these ids, which no process has, and these invalid pointers. The launcher replaces them with its own values.
const (
	SomePID       = 0x5a17_b0d1
	SomeNegative  = 0xa5e8_4f2f           // -SomePID in 32 bits
	SomeName      = 0x5a17_b0d2_a5e8_4f30 // address of the name that is executed
	SomeArguments = 0x5a17_b0d3_a5e8_4f31 // address of its arguments
)

// MessageBytes is the limit of each message between host and launcher, in bytes. A message is preceded by its length in 4 bytes. From launcher to
// host, a byte with the kind of message comes before the length.
const MessageBytes = 16 << 20

// InPlace is the host's second and last message, after the Spec: the process is in its cgroups.
const InPlace = 'p'

// A Spec tells a launcher what to do.
type Spec struct {
	Walls bool // build walls, not only set limits

	Path string // the file to execute by name, if Exec is -1
	Exec int    // the descriptor to execute, after it has been moved to Place
	Args []string
	Env  []string
	Dir  string // working folder; empty to keep the current one

	Keep    int    // how many descriptors from 3 on stay open
	Place   int    // the number to which the descriptor to execute is moved: above the limit of descriptors, if there is one
	UID     int    // the user and group to become, -1 to keep the current ones
	Sockets string // the plugin's folder for its socket
	Spaces  bool   // the process is in new namespaces and must build a private root

	Mounts   []Mount // binds in the private root, in this order
	Devices  []string
	TmpBytes int64
	Limits   []Limit
	Ruleset  []byte // for Landlock: struct landlock_ruleset_attr, empty for none
	OfFiles  uint64 // the rights that a rule may grant to a file that is not a folder
	Grants   []Grant
	Filter   []byte // for seccomp: a sequence of struct sock_filter, empty for none

	Seccomp, ExecveAt, GetRandom uintptr // numbers of these system calls, which package syscall lacks

	Rehearse bool // the file is not a program: test the walls, then try to execute it, and report
}

func (s *Spec) code(c *coder) {
	c.flag(&s.Walls)
	text(c, &s.Path)
	number(c, &s.Exec)
	list(c, &s.Args, text[string])
	list(c, &s.Env, text[string])
	text(c, &s.Dir)
	number(c, &s.Keep)
	number(c, &s.Place)
	number(c, &s.UID)
	text(c, &s.Sockets)
	c.flag(&s.Spaces)
	list(c, &s.Mounts, func(c *coder, m *Mount) {
		text(c, &m.Source)
		text(c, &m.Target)
		number(c, &m.FD)
		c.flag(&m.Write)
		number(c, &m.Dev)
		number(c, &m.Ino)
	})
	list(c, &s.Devices, text[string])
	number(c, &s.TmpBytes)
	list(c, &s.Limits, func(c *coder, l *Limit) {
		number(c, &l.Resource)
		number(c, &l.Value)
	})
	text(c, &s.Ruleset)
	number(c, &s.OfFiles)
	list(c, &s.Grants, func(c *coder, g *Grant) {
		text(c, &g.Path)
		number(c, &g.Access)
		c.flag(&g.Optional)
		number(c, &g.Dev)
		number(c, &g.Ino)
	})
	text(c, &s.Filter)
	number(c, &s.Seccomp)
	number(c, &s.ExecveAt)
	number(c, &s.GetRandom)
	c.flag(&s.Rehearse)
}

// A Mount is a bind in a private root.
type Mount struct {
	Source, Target string
	FD             int // a detached copy of the mount that the host has made, -1 for none
	Write          bool
	Dev, Ino       uint64 // the expected inode; an Ino of 0 accepts every file
}

// A Limit is a resource limit of setrlimit(2), soft and hard.
type Limit struct {
	Resource int
	Value    uint64
}

// A Grant gives Landlock access rights for a file, or for a folder and everything below it.
type Grant struct {
	Path     string
	Access   uint64
	Optional bool // the file may be missing
	Dev, Ino uint64
}

// The kinds of messages from a launcher to its host. Each is one byte.
const (
	SayFolder = 'f' // carries a descriptor of the socket folder
	SayError  = 'e' // with a Failure
	SayTried  = 't' // with a Trial
	SayReady  = 'r' // everything but the execution of the plugin is done
)

// A Failure is the last message of a launcher that could not start the plugin.
type Failure struct {
	Stage   string
	Errno   int // 0 if the error has no errno
	Message string
}

func (f *Failure) code(c *coder) {
	text(c, &f.Stage)
	number(c, &f.Errno)
	text(c, &f.Message)
}

// A Trial is the result of a launcher's attempts to get past the walls that it had built. File, Socket and Signal are errnos, 0 if nothing stopped
// the attempt.
type Trial struct {
	File   int // reading its own /proc/self/status
	Socket int // making an internet socket
	Signal int // signalling its parent
	UID    int
	PID    int
}

func (t *Trial) code(c *coder) {
	for _, n := range []*int{&t.File, &t.Socket, &t.Signal, &t.UID, &t.PID} {
		number(c, n)
	}
}
