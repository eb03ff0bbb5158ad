#!/usr/bin/env python3
"""The square root of a number: the same workload as plugins/sqrt, in Python."""

import math

from parhost_plugin import serve


def sqrt(x):
    if x < 0:
        raise ValueError(f"sqrt of {x:g}: the number is negative")
    return math.sqrt(x)


if __name__ == "__main__":
    serve(
        sqrt,
        name="sqrt-python",
        version="1.0.0",
        description="the square root of a number, in Python",
        item_kind="float64",
        result_kind="float64",
        item_schema={"type": "number", "minimum": 0},
        examples=[0, 1, 4, 9, 16, 25, 36, 49, 64, 81],
        idempotent=True,
        prefer="process",
        item_time_ns=2000,
    )
