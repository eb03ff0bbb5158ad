package wire

import (
	"github.com/parhost/parhost/internal/bound"
	"github.com/parhost/parhost/internal/wire/workerpb"
	"github.com/parhost/parhost/protocol"
)

// kinds are the kinds that a worker may report, and their numbers in messages.
var kinds = []struct {
	kind protocol.Kind
	pb   workerpb.Kind
}{
	{protocol.KindBadItem, workerpb.Kind_KIND_BAD_ITEM},
	{protocol.KindFailed, workerpb.Kind_KIND_FAILED},
	{protocol.KindPanicked, workerpb.Kind_KIND_PANIC},
	{protocol.KindTimeout, workerpb.Kind_KIND_TIMEOUT},
	{protocol.KindCanceled, workerpb.Kind_KIND_CANCELED},
	{protocol.KindOversize, workerpb.Kind_KIND_OVERSIZE},
}

// Weight returns the number of bytes in the texts of an error. It returns 0 for nil.
func Weight(e *protocol.ItemError) int {
	if e == nil {
		return 0
	}
	size := len(e.Message) + len(e.Stack) + len(e.Dump)
	for _, line := range e.Stderr {
		size += len(line)
	}
	return size
}

// ErrorToProto returns e as a message, with item as its place in the batch, and its texts cut to their limits.
func ErrorToProto(e *protocol.ItemError, item int) *workerpb.ItemError {
	pb := &workerpb.ItemError{
		Item:    uint32(item),
		Kind:    workerpb.Kind_KIND_FAILED,
		Message: bound.Text(e.Message, MaxMessageText),
		Stack:   bound.Text(e.Stack, MaxStackText),
		Offset:  uint64(e.Offset),
		Size:    uint64(e.Size),
	}
	for _, k := range kinds {
		if k.kind == e.Kind {
			pb.Kind = k.pb
		}
	}
	return pb
}

// ErrorFromProto returns the error that a worker sent. A kind that a worker may not claim, or that is unknown, becomes KindFailed.
func ErrorFromProto(pb *workerpb.ItemError) *protocol.ItemError {
	e := &protocol.ItemError{
		Kind:    protocol.KindFailed,
		Message: bound.Text(pb.GetMessage(), MaxMessageText),
		Stack:   bound.Text(pb.GetStack(), MaxStackText),
		Offset:  int(min(pb.GetOffset(), 1<<40)),
		Size:    int64(min(pb.GetSize(), 1<<60)),
	}
	for _, k := range kinds {
		if k.pb == pb.GetKind() {
			e.Kind = k.kind
		}
	}
	return e
}
