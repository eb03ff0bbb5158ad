#!/usr/bin/env python3
"""Takes square roots, and misbehaves for some numbers."""

import math
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from parhost_plugin import serve  # noqa: E402 (found through the line above)
from parhost_values import BadItem  # noqa: E402


def sleep(_):
    time.sleep(60)


def resist(_):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def refuse(x):
    raise BadItem(f"{x:g} is not welcome")


FAULTS = {
    1001: lambda _: os._exit(7),
    1002: sleep,
    1003: resist,
    1004: refuse,
    1005: lambda _: sys.exit("enough"),
    1006: lambda _: "no number",
    1007: lambda _: math.inf,
    1008: lambda _: print("said on stdout") or 8.0,
}


serve(lambda x: FAULTS.get(x, math.sqrt)(x), name="faulty", item_kind="float64", result_kind="float64")
