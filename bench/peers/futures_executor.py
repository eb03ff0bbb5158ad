"""concurrent.futures.ProcessPoolExecutor with two processes."""

from concurrent.futures import ProcessPoolExecutor
from math import sqrt

import measure


def main():
    _, n, seconds = measure.arguments()
    items = measure.numbers(n)
    with ProcessPoolExecutor(2) as executor:
        times, results = measure.warm(lambda: list(executor.map(sqrt, items, chunksize=1000)), seconds)
    measure.report(times, measure.digest(results))


if __name__ == "__main__":
    main()
