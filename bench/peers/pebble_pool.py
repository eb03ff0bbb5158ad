"""pebble.ProcessPool with two processes."""

from math import sqrt

from pebble import ProcessPool

import measure


def main():
    _, n, seconds = measure.arguments()
    items = measure.numbers(n)
    with ProcessPool(max_workers=2) as pool:
        times, results = measure.warm(lambda: list(pool.map(sqrt, items, chunksize=1000).result()), seconds)
    measure.report(times, measure.digest(results))


if __name__ == "__main__":
    main()
