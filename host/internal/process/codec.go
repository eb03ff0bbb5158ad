package process

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// codec is gRPC's for protobuf, but looks at what a worker says on its stream before it is decoded.
type codec struct {
	encoding.CodecV2
	check func(message []byte) error
}

// newCodec looks with check.
func newCodec(check func(message []byte) error) codec {
	return codec{encoding.GetCodecV2("proto"), check}
}

// Unmarshal decodes a message, or says what is wrong with it.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if _, ok := v.(*workerpb.WorkResponse); !ok || data.Len() <= wire.Uncounted {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	if err := c.check(whole.ReadOnlyData()); err != nil {
		return err
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{whole}, v)
}

// Name is empty, so that workers are told of no codec, as by default.
func (codec) Name() string { return "" }
