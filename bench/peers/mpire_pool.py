"""mpire.WorkerPool with two processes and its own choice of chunks."""

from math import sqrt

from mpire import WorkerPool

import measure


def main():
    _, n, seconds = measure.arguments()
    items = measure.numbers(n)
    with WorkerPool(n_jobs=2, keep_alive=True) as pool:
        times, results = measure.warm(lambda: pool.map(sqrt, items), seconds)
    measure.report(times, measure.digest(results))


if __name__ == "__main__":
    main()
