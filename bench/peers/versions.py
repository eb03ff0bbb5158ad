"""Prints what is installed of the packages that are named, with Python's own version, as JSON."""

import importlib.metadata
import json
import platform
import sys

found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
