"""Checks a trace against Perfetto's own schema, and prints what is on each track as JSON.

Usage: check.py TRACE
"""

import collections
import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb


def unknown(message, path):
    """Yields the fields that the schema does not have."""
    for field in UnknownFieldSet(message):
        yield f"{path}: field {field.field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.type != descriptor.TYPE_MESSAGE:
            continue
        for one in [value] if hasattr(value, "ListFields") else value:
            yield from unknown(one, f"{path}.{descriptor.name}")


def main(path):
    trace = pb.Trace()
    with open(path, "rb") as file:
        trace.ParseFromString(file.read())
    faults = list(unknown(trace, "trace"))
    tracks = {}
    starts, ends = set(), set()
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            d = packet.track_descriptor
            if d.uuid in tracks:
                faults.append(f"track {d.uuid} is described twice")
            if d.parent_uuid and d.parent_uuid not in tracks:
                faults.append(f"track {d.uuid} comes before its parent")
            tracks[d.uuid] = {"name": d.name, "parent": tracks.get(d.parent_uuid, {}).get("name", ""),
                              "counter": d.HasField("counter"), "slices": [], "instants": [], "values": [], "open": []}
    for packet in sorted((p for p in trace.packet if p.HasField("track_event")), key=lambda p: p.timestamp):
        e = packet.track_event
        track = tracks.get(e.track_uuid)
        if track is None:
            faults.append(f"an event of track {e.track_uuid}, which is not described")
            continue
        notes = {a.name: a.string_value or a.int_value for a in e.debug_annotations}
        starts.update(e.flow_ids)
        ends.update(e.terminating_flow_ids)
        if e.type == e.TYPE_SLICE_BEGIN:
            track["open"].append({"name": e.name, "begun": packet.timestamp, "depth": len(track["open"]), "notes": notes})
        elif e.type == e.TYPE_SLICE_END:
            if not track["open"]:
                faults.append(f"a slice of {track['name']} ends that has not begun")
                continue
            done = track["open"].pop()
            done["took"] = packet.timestamp - done.pop("begun")
            track["slices"].append(done)
        elif e.type == e.TYPE_INSTANT:
            track["instants"].append({"name": e.name, "notes": notes})
        elif e.type == e.TYPE_COUNTER:
            track["values"].append(e.double_counter_value or e.counter_value)
        else:
            faults.append(f"an event of type {e.type}")
    for track in tracks.values():
        for begun in track.pop("open"):
            faults.append(f"the slice {begun['name']} of {track['name']} has no end")
    faults += [f"flow {n} ends and has not begun" for n in ends - starts]
    json.dump({"faults": faults, "tracks": list(tracks.values()), "flows": len(starts), "ended_flows": len(ends)}, sys.stdout)


main(sys.argv[1])
