"""How values travel: kinds (§3 of docs/PROTOCOL.md), columns (§4) and JSON (§6).

A codec splits a column into raw values, decodes one, encodes one, and joins raw values to a column.
"""

import base64
import json
import math
import re
import struct


class BadItem(ValueError):
    """Raised by a workload whose item is wrong in itself; the host then says bad_item instead of failed."""

    def __init__(self, message, offset=0):
        super().__init__(message)
        self.offset = offset


_CODES = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float32": "f", "float64": "d",
}


def codec(kind):
    if kind in _CODES:
        return NumberCodec(kind)
    if kind.startswith("[]") and kind[2:] in _CODES:
        return SliceCodec(kind[2:])
    return {"string": StringCodec, "bytes": BytesCodec, "json": AnyCodec}[kind]()


def schema_of(kind):
    """Returns the JSON Schema of a kind's values, for workloads that say no more of theirs."""
    if kind.startswith("[]"):
        return {"type": "array", "items": schema_of(kind[2:])}
    if kind.startswith("float"):
        return {"type": "number"}
    if kind in _CODES:
        bits = int(kind.lstrip("uint"))
        least, most = (0, (1 << bits) - 1) if kind[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
        return {"type": "integer", "minimum": least, "maximum": most}
    return {"string": {"type": "string"}, "bytes": {"type": "string", "contentEncoding": "base64"}}.get(kind, {})


class NumberCodec:
    def __init__(self, kind):
        self.kind, self.code = kind, _CODES[kind]
        self.struct = struct.Struct("<" + self.code)
        self.width = self.struct.size
        self.is_float = self.code in "fd"

    def split(self, column, n):
        if len(column) != n * self.width:
            raise ValueError(f"column of {n} values of {self.kind} takes {n * self.width} bytes, got {len(column)}")
        return struct.unpack(f"<{n}{self.code}", column)

    def decode(self, raw):
        return raw

    def encode(self, value):
        return self.struct.pack(value)

    def join(self, values):
        return b"".join(values)

    def from_json(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.is_float else int):
            raise BadItem(f"got {json.dumps(value)}, want a number of kind {self.kind}", offset=1)
        try:
            value = float(value) if self.is_float else value
            packed = self.struct.pack(value)
        except (OverflowError, struct.error):
            packed = None
        if packed is None or self.is_float and not math.isfinite(value):
            raise BadItem(f"the number is out of the range of {self.kind}", offset=1)
        return self.struct.unpack(packed)[0]

    def to_json(self, value):
        return format_number(self.struct.unpack(self.struct.pack(value))[0], self.code == "f")


class VariableCodec:
    """Lengths, padding, values. Subclasses say how one value looks."""

    width = 0
    aligned = False

    def split(self, column, n):
        end = -(-4 * n // 8) * 8
        if len(column) < end:
            raise ValueError(f"column of {n} values needs a table of {end} bytes, got {len(column)} bytes")
        lengths = struct.unpack_from(f"<{n}I", column)
        values = []
        for length in lengths:
            at = -(-end // 8) * 8 if self.aligned else end
            end = at + length
            values.append(column[at:end])
        if end != len(column):
            raise ValueError(f"column of {n} values is {len(column)} bytes, its table says {end}")
        return values

    def join(self, values):
        parts = [struct.pack(f"<{len(values)}I", *map(len, values))]
        end = len(parts[0])
        for i, value in enumerate(values):
            if end % 8 and (self.aligned or i == 0):
                parts.append(bytes(-end % 8))
                end += -end % 8
            parts.append(value)
            end += len(value)
        return b"".join(parts)


class SliceCodec(VariableCodec):
    aligned = True

    def __init__(self, kind):
        self.number = NumberCodec(kind)

    def decode(self, raw):
        n, rest = divmod(len(raw), self.number.width)
        if rest:
            raise BadItem(f"[]{self.number.kind} takes a multiple of {self.number.width} bytes, got {len(raw)}")
        return list(self.number.split(raw, n))

    def encode(self, value):
        return struct.pack(f"<{len(value)}{self.number.code}", *value)

    def from_json(self, value):
        if not isinstance(value, list):
            raise BadItem("want an array of numbers", offset=1)
        return [self.number.from_json(v) for v in value]

    def to_json(self, value):
        return "[" + ",".join(map(self.number.to_json, value)) + "]"


class StringCodec(VariableCodec):
    def decode(self, raw):
        try:
            return raw.decode()
        except UnicodeDecodeError as e:
            raise BadItem(str(e)) from None

    def encode(self, value):
        return value.encode()

    def from_json(self, value):
        if not isinstance(value, str):
            raise BadItem("want a string", offset=1)
        return value

    def to_json(self, value):
        return dump_json("" + value).decode()


class BytesCodec(VariableCodec):
    def decode(self, raw):
        return raw

    def encode(self, value):
        return bytes(memoryview(value))

    def from_json(self, value):
        try:
            return base64.b64decode(value, validate=True)
        except (TypeError, ValueError) as e:
            raise BadItem(f"want a string in base64: {e}", offset=1) from None

    def to_json(self, value):
        return json.dumps(base64.b64encode(value).decode())


class AnyCodec(VariableCodec):
    """The kind json: any value that JSON has."""

    def decode(self, raw):
        return load_json(raw)

    def encode(self, value):
        return dump_json(value)

    def from_json(self, value):
        return value

    def to_json(self, value):
        return dump_json(value).decode()


class JSONCodec(VariableCodec):
    """FORMAT_JSON of another codec's values (§6)."""

    def __init__(self, of):
        self.of = of

    def decode(self, raw):
        return self.of.from_json(load_json(raw))

    def encode(self, value):
        return self.of.to_json(value).encode()


def load_json(raw):
    try:
        value = json.loads(
            text := raw.decode(), parse_constant=refuse_constant, parse_float=finite, object_pairs_hook=refuse_twice
        )
    except UnicodeDecodeError as e:
        raise BadItem(f"byte {raw[e.start]:#x} is no UTF-8", offset=e.start + 1) from None
    except json.JSONDecodeError as e:
        raise BadItem(e.msg, offset=len(text[: e.pos].encode()) + 1) from None
    except (ValueError, RecursionError) as e:
        raise BadItem(str(e)) from None
    if (at := half_pair(text)) is not None:
        raise BadItem(f"{text[at : at + 6]} is half of a surrogate pair", offset=len(text[:at].encode()) + 1)
    return value


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")


def half_pair(text):
    """Returns the place of an escape that is one half of a surrogate pair without the other, which is no character."""
    if "\\u" not in text:
        return None
    first = None  # half of a pair that waits for the second
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1] or "0", 16)
        second = 0xDC00 <= code < 0xE000
        if first and not (second and first.end() == escape.start()):
            return first.start()
        if second and not first:
            return escape.start()
        first = escape if 0xD800 <= code < 0xDC00 else None
    return first.start() if first else None


def refuse_twice(pairs):
    """Makes an object of its fields. Python would take the last of two that have the same name."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"the name {json.dumps(twice)} is there twice")
    return value


def finite(text):
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is out of range")
    return value


def refuse_constant(name):
    raise ValueError(f"{name} is no JSON value")


def dump_json(value):
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def format_number(value, single=False):
    """Writes a number as ECMAScript does: the shortest digits that read back as the same."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    text = repr(value)
    if single:  # a float32 needs fewer digits
        packed = struct.pack("<f", value)
        text = next(t for p in range(6, 10) if struct.pack("<f", float(t := f"{value:.{p}g}")) == packed)
    sign, digits, exponent = re.fullmatch(r"(-?)([\d.]+)(?:e([+-]\d+))?", text).groups()
    whole, _, fraction = digits.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    if not digits:
        return sign + "0"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if 0 < point <= 21:
        digits = digits.ljust(point, "0")
        return sign + digits[:point] + ("." + digits[point:] if digits[point:] else "")
    return f"{sign}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{point - 1:+d}"
