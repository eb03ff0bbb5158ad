package perfetto

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of fields in Perfetto's protocol buffers, by message: https://github.com/google/perfetto/blob/main/protos/perfetto/trace/perfetto_trace.proto.
const (
	tracePacket protowire.Number = 1

	packetTimestamp       protowire.Number = 8
	packetSequenceID      protowire.Number = 10
	packetTrackEvent      protowire.Number = 11
	packetSequenceFlags   protowire.Number = 13
	packetTrackDescriptor protowire.Number = 60

	descriptorUUID     protowire.Number = 1
	descriptorName     protowire.Number = 2
	descriptorParent   protowire.Number = 5
	descriptorCounter  protowire.Number = 8
	descriptorOrdering protowire.Number = 11
	descriptorRank     protowire.Number = 12

	counterUnit     protowire.Number = 3
	counterUnitName protowire.Number = 6

	eventAnnotation  protowire.Number = 4
	eventType        protowire.Number = 9
	eventTrack       protowire.Number = 11
	eventCategory    protowire.Number = 22
	eventName        protowire.Number = 23
	eventDouble      protowire.Number = 44
	eventFlow        protowire.Number = 47
	eventEndsFlow    protowire.Number = 48
	annotationInt    protowire.Number = 4
	annotationString protowire.Number = 6
	annotationName   protowire.Number = 10
)

// Values of enumerations.
const (
	sliceBegin   = 1
	sliceEnd     = 2
	instant      = 3
	counter      = 4
	explicit     = 3 // TrackDescriptor.ChildTracksOrdering: by rank
	unitBytes    = 3 // CounterDescriptor.Unit
	stateCleared = 1 // TracePacket.SequenceFlags: the first packet of the sequence
)

// message is a protocol buffer that is being written.
type message []byte

func (m *message) number(field protowire.Number, n uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), n)
}

func (m *message) text(field protowire.Number, s string) {
	*m = protowire.AppendString(protowire.AppendTag(*m, field, protowire.BytesType), s)
}

func (m *message) fixed(field protowire.Number, n uint64) {
	*m = protowire.AppendFixed64(protowire.AppendTag(*m, field, protowire.Fixed64Type), n)
}

func (m *message) real(field protowire.Number, x float64) { m.fixed(field, math.Float64bits(x)) }

func (m *message) nested(field protowire.Number, inner message) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), inner)
}

// annotate adds a value that is shown when an event is selected.
func (m *message) annotate(name, value string) {
	var a message
	a.text(annotationName, name)
	a.text(annotationString, value)
	m.nested(eventAnnotation, a)
}

func (m *message) annotateNumber(name string, value int) {
	var a message
	a.text(annotationName, name)
	a.number(annotationInt, uint64(value))
	m.nested(eventAnnotation, a)
}
