package process

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/parhost/parhost/internal/wire"
	"github.com/parhost/parhost/internal/wire/workerpb"
)

// codec is gRPC's codec for protobuf, but checks the messages of a worker's stream before it decodes them.
type codec struct {
	encoding.CodecV2
	check func(message []byte) error
}

// newCodec returns a codec that checks messages with check.
func newCodec(check func(message []byte) error) codec {
	return codec{encoding.GetCodecV2("proto"), check}
}

// Unmarshal decodes a message. It returns check's error without decoding if check refuses the message.
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

// Name is empty, so that requests name no codec to the worker, as by default.
func (codec) Name() string { return "" }
