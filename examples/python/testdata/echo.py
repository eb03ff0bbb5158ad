#!/usr/bin/env python3
"""Returns its item, or for "context" what the host's caller says of the run."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from parhost_plugin import deadline, metadata, serve  # noqa: E402 (found through the line above)


def run(item):
    if item == "context":
        until = deadline()
        return {"metadata": metadata(), "left": until and until - time.time()}
    return item


serve(run, name="echo")
