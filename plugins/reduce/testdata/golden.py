"""Writes what Python makes of these sequences and draws.

    python3 golden.py > golden.json

Written with CPython 3.11. Long draws and their results are kept as the SHA-256 of their decimal digits.
"""
import functools, hashlib, json, math, operator, random, sys

sys.set_int_max_str_digits(0)

OPS = {
    "add": operator.add, "mul": operator.mul, "min": min, "max": max, "gcd": math.gcd, "lcm": math.lcm,
    "and": operator.and_, "or": operator.or_, "xor": operator.xor,
}

BIG = 3**200
SEQUENCES = [
    ([], None), ([], 0), ([], -7), ([5], None), ([-4], None), ([0], None), ([1], None), ([-1], None), ([0, 0], None), ([-4], 6),
    ([1, 2, 3, 4, 5], None), ([1, 2, 3, 4, 5], 0), ([5, 4, 3, 2, 1], 10), ([4, -6, 10], None), ([-4, -6], None), ([0, -6], None),
    ([-6, 0], None), ([12, 0, 18], None), ([-1, 255], None), ([-256, 255, -3], None), ([1, -1], None), ([-1, -1, -1], None),
    ([2**32, 2**32 - 1, 2**32 + 1], None), ([2**63, -2**63, 2**64 - 1], None), ([2**64, 2**64 - 1, -(2**64)], None),
    ([BIG, -BIG, BIG + 1], None), ([BIG, 6, -BIG * 10, 15], None), ([-BIG, 2**300, -(2**299) - 1], BIG), ([7, BIG, 7], -1),
    ([6, 10, BIG, 15, 0, 4], 9), ([2**31] * 70, None), (list(range(1, 300)), None), (list(range(-150, 150)), 3),
    ([(-3)**k for k in range(120)], None), ([BIG + k for k in range(60)], -(2**70)),
]
SAMPLES = [  # seed, range, number
    (1, 10, 5), (0, 10, 10), (-1, 10, 5), (2**32, 1000, 7), (2**32 - 1, 1000, 7), (-(2**100) - 12345, 1000000, 9),
    (10**400, 50, 20), (1, 1, 1), (1, 2, 1), (5, 0, 0), (5, 21, 5), (5, 22, 5), (5, 37, 6), (5, 38, 6), (5, 85, 6), (5, 86, 6),
    (7, 277, 22), (7, 278, 22), (3, 2**32, 6), (3, 2**32 - 1, 6), (3, 2**33, 40), (3, 2**63 - 1, 40),
]
LONG = [(9, 4096, 4096), (1, 1000000, 50000), (2, 1000000, 50000), (42, 60000, 50000), (3, 262165, 50000), (3, 262166, 50000), (8, 2**40, 100000)]


def reduced(op, values, initial):
    try:
        return str(functools.reduce(OPS[op], values) if initial is None else functools.reduce(OPS[op], values, initial))
    except TypeError as e:
        return "error: " + str(e).replace("()", "").replace("iterable", "sequence")


def drawn(seed, limit, number):
    random.seed(seed)
    return random.sample(range(limit), number)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


json.dump({
    "reduce": [
        {"values": values, "initial": initial, "want": {op: reduced(op, values, initial) for op in OPS}} for values, initial in SEQUENCES
    ],
    "sample": [{"seed": s, "range": r, "number": n, "want": drawn(s, r, n)} for s, r, n in SAMPLES],
    "long": [
        {"seed": s, "range": r, "number": n, "sample": digest(" ".join(map(str, drawn(s, r, n))))} for s, r, n in LONG
    ],
    "product": [{"seed": 1, "number": 50000, "op": op, "sha256": digest(reduced(op, drawn(1, 1000000, 50000), None))} for op in OPS],
}, sys.stdout, separators=(",", ":"))
