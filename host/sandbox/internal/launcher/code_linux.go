package launcher

// A coder writes a message or reads one. Each message lists its fields once, for both directions, so that the two ends cannot differ.
type coder struct {
	bytes   []byte
	reading bool
	short   bool // the message has fewer bytes than its fields need
}

// numberBytes is the size of a number. A text or list begins with its length, so it takes at least as much.
const numberBytes = 8

func number[T ~int | ~int32 | ~int64 | ~uint8 | ~uint32 | ~uint64 | ~uintptr](c *coder, n *T) {
	if !c.reading {
		for i := range numberBytes {
			c.bytes = append(c.bytes, byte(uint64(*n)>>(8*i)))
		}
		return
	}
	if len(c.bytes) < numberBytes {
		c.short, c.bytes = true, nil
		return
	}
	var u uint64
	for i := range numberBytes {
		u |= uint64(c.bytes[i]) << (8 * i)
	}
	*n, c.bytes = T(u), c.bytes[numberBytes:]
}

func text[T ~string | ~[]byte](c *coder, s *T) {
	size := len(*s)
	number(c, &size)
	switch {
	case !c.reading:
		c.bytes = append(c.bytes, *s...)
	case size < 0 || size > len(c.bytes):
		c.short, c.bytes = true, nil
	default:
		*s, c.bytes = T(c.bytes[:size]), c.bytes[size:]
	}
}

func (c *coder) flag(b *bool) {
	var n uint8
	if *b {
		n = 1
	}
	number(c, &n)
	if c.reading { // a message that is written may be shared, so it is not changed
		*b = n != 0
	}
}

func list[T any](c *coder, items *[]T, code func(*coder, *T)) {
	size := len(*items)
	number(c, &size)
	if c.reading {
		if size < 0 || size > len(c.bytes)/numberBytes { // each item takes at least numberBytes
			c.short, c.bytes = true, nil
			return
		}
		*items = make([]T, size)
	}
	for i := range *items {
		code(c, &(*items)[i])
	}
}

// message is what the host and its launcher send to each other.
type message interface {
	code(c *coder)
}

// Bytes encodes a message.
func Bytes(m message) []byte {
	c := &coder{}
	m.code(c)
	return c.bytes
}

// Parse decodes a message. It returns an error if b has too few or too many bytes.
func Parse(b []byte, m message) error {
	c := &coder{bytes: b, reading: true}
	m.code(c)
	switch {
	case c.short:
		return &fault{step: "a message that ends too early"}
	case len(c.bytes) > 0:
		return &fault{step: "a message that is too long"}
	}
	return nil
}
