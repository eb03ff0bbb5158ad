"""What all peers do alike: the items, the clock and the answer.

A peer is called with the row's way, its size and how many seconds to measure, and prints one line of JSON.
"""

import array
import hashlib
import json
import sys
import time

MOST = 50  # samples of one turn; the Go contenders have the same bound


def arguments():
    return sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


def numbers(n):
    return [float(i) for i in range(n)]


def arrays(n):
    """n arrays of 8 MiB; the sums of their whole numbers are the same in whatever order they are added."""
    import numpy

    ramp = numpy.arange(1 << 20, dtype=numpy.int64) * 7
    return [((ramp + k) % 1024).astype(numpy.float64) for k in range(n)]


def warm(work, seconds):
    """Does the work once unmeasured, then measures it."""
    work()
    return sample(work, seconds)


def sample(work, seconds):
    """Does the work as often as fits into seconds, but at least once, and returns the times and the last outcome."""
    times = []
    while not times or (sum(times) < seconds and len(times) < MOST):
        begun = time.perf_counter()
        outcome = work()
        times.append(time.perf_counter() - begun)
    return times, outcome


def each(call, xs):
    """Makes one call after the other and returns the time of each."""
    for x in xs[:100]:
        call(x)
    times, outcome = [], []
    for x in xs:
        begun = time.perf_counter()
        outcome.append(call(x))
        times.append(time.perf_counter() - begun)
    return times, outcome


def digest(values):
    """The same text for the same float64 values, in Go too."""
    column = array.array("d", values)
    if sys.byteorder == "big":
        column.byteswap()
    return hashlib.sha256(column.tobytes()).hexdigest()[:16]


def report(times, answer):
    print(json.dumps({"seconds": times, "answer": answer}))
