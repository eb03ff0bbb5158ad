package launcher

// Name is what the launcher is called as.
const Name = "parhost-sandbox-init"

// Variable is what makes a process a launcher: the environment variable with the number of its control socket. It is no argument, because
// those are package os's to know. A plugin never has it: it gets the environment that its host has sent.
const Variable = "PARHOST_SANDBOX_CONTROL"

// Sockets is where a plugin with a root of its own has its socket.
const Sockets = "/run/plugin"

// A filter is made once for many processes, but a process may signal only itself, and be executed only by its launcher. So it is made for
// ids that no process has, and for pointers to nothing, and the launcher puts its own in their place.
const (
	SomePID       = 0x5a17_b0d1
	SomeNegative  = 0xa5e8_4f2f           // -SomePID in 32 bits
	SomeName      = 0x5a17_b0d2_a5e8_4f30 // of what is executed
	SomeArguments = 0x5a17_b0d3_a5e8_4f31 // with which it is
)

// MessageBytes bounds each message between host and launcher. Before each stand its length, as 4 bytes, and in front of that,
// from launcher to host, what it is.
const MessageBytes = 16 << 20

// InPlace is the host's second and last word, after the Spec: the process has been put where it is to be counted.
const InPlace = 'p'

// A Spec is what the host tells its launcher to do.
type Spec struct {
	Walls bool // not limits alone

	Path string // what to execute by name, if Exec is -1
	Exec int    // the descriptor to execute, which Place says where to put
	Args []string
	Env  []string
	Dir  string // to start in, empty to stay

	Keep    int    // so many descriptors from 3 on stay open
	Place   int    // where the descriptor to execute is put: above the limit of descriptors, if there is one
	UID     int    // the user and group to become, -1 to stay
	Sockets string // the plugin's folder for its socket
	Spaces  bool   // namespaces are there, to be furnished

	Mounts   []Mount // in a root of its own, in this order
	Devices  []string
	TmpBytes int64
	Limits   []Limit
	Ruleset  []byte // for Landlock: the kernel's struct landlock_ruleset_attr, empty for none
	OfFiles  uint64 // the rights that a rule may grant to something that is no folder
	Grants   []Grant
	Filter   []byte // for seccomp: the kernel's struct sock_filter, one after the other, empty for none

	Seccomp, ExecveAt, GetRandom uintptr // the numbers of these system calls, which package syscall does not know

	Rehearse bool // the file is no program: try the walls, then to execute it, and tell
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

// A Mount is a bind in a root of its own.
type Mount struct {
	Source, Target string
	FD             int // of a copy that the host has made, -1 for none
	Write          bool
	Dev, Ino       uint64 // what it has to be, 0 if it does not matter
}

// A Limit is one of setrlimit(2).
type Limit struct {
	Resource int
	Value    uint64
}

// A Grant is a file or folder, with the rights of Landlock below it.
type Grant struct {
	Path     string
	Access   uint64
	Optional bool // it need not be there
	Dev, Ino uint64
}

// What a launcher says to its host is one byte, and what goes with it.
const (
	SayFolder = 'f' // the folder of the socket, as a descriptor
	SayError  = 'e' // and a Failure
	SayTried  = 't' // and a Trial
	SayReady  = 'r' // all is done but the last call
)

// A Failure is a launcher's last word.
type Failure struct {
	Stage   string
	Errno   int // 0 if it is no such error
	Message string
}

func (f *Failure) code(c *coder) {
	text(c, &f.Stage)
	number(c, &f.Errno)
	text(c, &f.Message)
}

// A Trial is what a launcher met that tried the walls that it had built; the numbers are those of errors, 0 where nothing stopped it.
type Trial struct {
	File   int // reading its own program's folder
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
