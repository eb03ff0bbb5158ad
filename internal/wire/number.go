package wire

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"unsafe"
)

// numberCodec gives number kinds their own readers and writers of JSON text. encoding/json takes ten times as long for a number, and allocates for each.
func numberCodec[T any](c *Codec[T], t reflect.Type) {
	bits := t.Bits()
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		c.appendJSON = func(dst []byte, v T) ([]byte, error) { return appendFloat(dst, loadFloat(v), bits) }
		c.decodeJSON = func(src []byte) (T, error) {
			if f, ok := readFloat(src, bits); ok {
				return storeFloat[T](f), nil
			}
			return unmarshalJSON[T](src, false)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		c.appendJSON = func(dst []byte, v T) ([]byte, error) { return strconv.AppendInt(dst, loadInt(v), 10), nil }
		c.decodeJSON = func(src []byte) (T, error) {
			if i, ok := readInt(src, bits); ok {
				return storeInt[T](i), nil
			}
			return unmarshalJSON[T](src, false)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		mask := ^uint64(0) >> (64 - bits)
		c.appendJSON = func(dst []byte, v T) ([]byte, error) {
			return strconv.AppendUint(dst, uint64(loadInt(v))&mask, 10), nil
		}
		c.decodeJSON = func(src []byte) (T, error) {
			if i, ok := readUint(src, bits); ok {
				return storeInt[T](int64(i)), nil
			}
			return unmarshalJSON[T](src, false)
		}
	}
	c.append = func(dst []byte, v T) ([]byte, error) { return c.AppendFixed(dst, []T{v}), nil }
	c.decode = func(src []byte) (T, error) {
		var v [1]T
		err := c.ReadFixed(v[:], src)
		return v[0], err
	}
}

// loadInt returns the value of an integer of any size. It sign-extends the bits, so the caller must mask the value of an unsigned type.
func loadInt[T any](v T) int64 {
	p := unsafe.Pointer(&v)
	switch unsafe.Sizeof(v) {
	case 1:
		return int64(*(*int8)(p))
	case 2:
		return int64(*(*int16)(p))
	case 4:
		return int64(*(*int32)(p))
	default:
		return *(*int64)(p)
	}
}

// storeInt returns i as a T. i must be in T's range.
func storeInt[T any](i int64) (v T) {
	p := unsafe.Pointer(&v)
	switch unsafe.Sizeof(v) {
	case 1:
		*(*int8)(p) = int8(i)
	case 2:
		*(*int16)(p) = int16(i)
	case 4:
		*(*int32)(p) = int32(i)
	default:
		*(*int64)(p) = i
	}
	return v
}

func loadFloat[T any](v T) float64 {
	if unsafe.Sizeof(v) == 4 {
		return float64(*(*float32)(unsafe.Pointer(&v)))
	}
	return *(*float64)(unsafe.Pointer(&v))
}

func storeFloat[T any](f float64) (v T) {
	if unsafe.Sizeof(v) == 4 {
		*(*float32)(unsafe.Pointer(&v)) = float32(f)
	} else {
		*(*float64)(unsafe.Pointer(&v)) = f
	}
	return v
}

// readInt reads src if it is a JSON integer in range. If not, it returns false, and the caller leaves src to the JSON decoder, which words the error.
func readInt(src []byte, bits int) (int64, bool) {
	if n, ok := cutNumber(src); !ok || n != len(src) {
		return 0, false
	}
	i, err := strconv.ParseInt(unsafe.String(unsafe.SliceData(src), len(src)), 10, bits)
	return i, err == nil
}

func readUint(src []byte, bits int) (uint64, bool) {
	if n, ok := cutNumber(src); !ok || n != len(src) {
		return 0, false
	}
	i, err := strconv.ParseUint(unsafe.String(unsafe.SliceData(src), len(src)), 10, bits)
	return i, err == nil
}

func readFloat(src []byte, bits int) (float64, bool) {
	if bits == 64 {
		if f, ok := readShort(src); ok {
			return f, true
		}
	}
	if n, ok := cutNumber(src); !ok || n != len(src) {
		return 0, false
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(src), len(src)), bits)
	return f, err == nil
}

// shortDigits is the number of decimal digits up to which each integer is a float64 without rounding. The powers of ten in tens are exact too.
const shortDigits = 15

var tens = [shortDigits + 1]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// readShort reads a number with few digits and no exponent, as most numbers are, in half the time of strconv. It divides two exact numbers, which
// rounds once, so the result is the nearest float64 (Clinger, How to read floating point numbers accurately, 1990, section 5).
func readShort(src []byte) (f float64, ok bool) {
	digits := src
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > shortDigits+1 || digits[0] == '0' && len(digits) > 1 && digits[1] != '.' {
		return 0, false
	}
	var n uint64
	point := -1
	for i, d := range digits {
		switch {
		case '0' <= d && d <= '9':
			n = 10*n + uint64(d-'0')
		case d == '.' && point < 0 && i > 0 && i < len(digits)-1:
			point = i
		default:
			return 0, false
		}
	}
	f = float64(n)
	switch {
	case point >= 0:
		f /= tens[len(digits)-1-point]
	case len(digits) > shortDigits:
		return 0, false
	}
	if len(digits) < len(src) {
		f = -f
	}
	return f, true
}

// appendFloat writes a float as encoding/json does (ECMAScript's rule for exponents), so that the two agree.
func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return dst, fmt.Errorf("%v has no JSON form", f)
	}
	abs := math.Abs(f)
	if abs < 1e15 && bits == 64 { // writing an integer takes a fifth of the time
		if i := int64(f); float64(i) == f && (i != 0 || !math.Signbit(f)) {
			return strconv.AppendInt(dst, i, 10), nil
		}
	}
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
		if n := len(dst); n >= 4 && dst[n-4] == 'e' && (dst[n-3] == '-' || dst[n-3] == '+') && dst[n-2] == '0' { // e-09 → e-9
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
		return dst, nil
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits), nil
}

// cutNumber returns the length of the JSON number (RFC 8259, section 6) that src begins with. strconv does not check this: it also accepts "inf",
// "0x1p-2", "+1" and "1_000".
func cutNumber(src []byte) (int, bool) {
	i := 0
	digits := func() int {
		from := i
		for i < len(src) && '0' <= src[i] && src[i] <= '9' {
			i++
		}
		return i - from
	}
	if i < len(src) && src[i] == '-' {
		i++
	}
	zero := i < len(src) && src[i] == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return 0, false
	}
	if i < len(src) && src[i] == '.' {
		i++
		if digits() == 0 {
			return 0, false
		}
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		if digits() == 0 {
			return 0, false
		}
	}
	return i, true
}
