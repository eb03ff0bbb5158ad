package carrier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// blobs keeps contents that are too large for a message, by tenant and SHA-256. Part 0 has the size, and is stored after the others, from 1 on, which have the
// content.
//
// It is not the library's object store, whose stream accepts Nats-Rollup, with which whoever may write one object can remove those of all tenants.
type blobs struct {
	c      *Carrier
	stream string
	prefix string // of its subjects
}

const (
	partBytes  = 512 << 10
	sizeHeader = "Ph-Size"
	mostBlob   = 1 << 30 // bounds what is read, whatever part 0 says
)

func (b blobs) subject(tenant, sum string, part int) string {
	return b.prefix + tenant + "." + sum + "." + strconv.Itoa(part)
}

// size returns how large a content is, or [engine.ErrNotFound].
func (b blobs) size(ctx context.Context, tenant, sum string) (int, error) {
	m, err := b.c.last(ctx, b.stream, b.subject(tenant, sum, 0))
	if err != nil {
		return 0, err
	}
	size, err := strconv.Atoi(m.Header.Get(sizeHeader))
	if err != nil || size < 0 || size > mostBlob {
		return 0, fmt.Errorf("%s %s: its size is %q", b.stream, sum, m.Header.Get(sizeHeader))
	}
	return size, nil
}

// put stores a content, unless it is there.
func (b blobs) put(ctx context.Context, tenant, sum string, content []byte) error {
	if _, err := b.size(ctx, tenant, sum); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	size := strconv.Itoa(len(content))
	for part := 1; len(content) > 0; part++ {
		n := min(partBytes, len(content))
		if err := b.putPart(ctx, &nats.Msg{Subject: b.subject(tenant, sum, part), Data: content[:n]}); err != nil {
			return err
		}
		content = content[n:]
	}
	return b.putPart(ctx, &nats.Msg{Subject: b.subject(tenant, sum, 0), Header: nats.Header{sizeHeader: {size}}})
}

func (b blobs) putPart(ctx context.Context, m *nats.Msg) error {
	_, err := b.c.publish(ctx, m)
	if isThere(err) {
		return nil
	}
	return said(err)
}

// get returns a content that has the SHA-256, or [engine.ErrNotFound].
func (b blobs) get(ctx context.Context, tenant, sum string) ([]byte, error) {
	size, err := b.size(ctx, tenant, sum)
	if err != nil {
		return nil, err
	}
	var content []byte
	for part := 1; len(content) < size; part++ {
		m, err := b.c.last(ctx, b.stream, b.subject(tenant, sum, part))
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", part, err)
		}
		if len(m.Data) == 0 {
			return nil, fmt.Errorf("part %d of %s is empty", part, sum)
		}
		content = append(content, m.Data...)
	}
	if got := sha256.Sum256(content); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("%s of tenant %q has the SHA-256 %x, and not %s", b.stream, tenant, got, sum)
	}
	return content, nil
}
