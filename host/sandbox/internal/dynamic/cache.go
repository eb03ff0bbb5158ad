package dynamic

import (
	"bytes"
	"encoding/binary"
)

// CacheName is the file in which glibc's loader looks up libraries (ld.so(8), ldconfig(8)).
const CacheName = "/etc/ld.so.cache"

// The cache format of glibc (sysdeps/generic/dl-cache.h). A table in the older format may precede it.
const (
	oldMagic    = "ld.so-1.7.0"
	oldHead     = 16
	oldEntry    = 12
	cacheMagic  = "glibc-ld.so.cache1.1"
	cacheHead   = 48
	cacheEntry  = 24
	cacheLibs   = len(cacheMagic) // offset of the number of entries
	entryKey    = 4
	entryValue  = 8
	cachePlaces = 64 // limit of the paths of one library; there may be one for each kind of processor
)

// Cached returns the paths under which a cache lists a library, for this processor and for others. It returns none if the format is unknown.
func Cached(cache []byte, name string) []string {
	if bytes.HasPrefix(cache, []byte(oldMagic)) && len(cache) >= oldHead {
		n := uint64(binary.LittleEndian.Uint32(cache[12:]))
		begin := (oldHead + n*oldEntry + 7) / 8 * 8
		if begin > uint64(len(cache)) {
			return nil
		}
		cache = cache[begin:]
	}
	if !bytes.HasPrefix(cache, []byte(cacheMagic)) || len(cache) < cacheHead {
		return nil
	}
	n := min(int(binary.LittleEndian.Uint32(cache[cacheLibs:])), (len(cache)-cacheHead)/cacheEntry)
	wanted := append([]byte(name), 0)
	var places []string
	for i := range n {
		entry := cache[cacheHead+i*cacheEntry:]
		key, value := binary.LittleEndian.Uint32(entry[entryKey:]), binary.LittleEndian.Uint32(entry[entryValue:])
		if uint64(key) >= uint64(len(cache)) || !bytes.HasPrefix(cache[key:], wanted) || uint64(value) >= uint64(len(cache)) {
			continue
		}
		text := cache[value:min(len(cache), int(value)+maxPath)]
		if end := bytes.IndexByte(text, 0); end > 0 && text[0] == '/' && len(places) < cachePlaces {
			places = append(places, string(text[:end]))
		}
	}
	return places
}
