"""multiprocessing.Pool with two processes."""

from math import sqrt
from multiprocessing import Pool

import measure


def total(numbers):
    return float(numbers.sum())


def main():
    way, n, seconds = measure.arguments()
    with Pool(2) as pool:
        if way == "map":
            items = measure.numbers(n)
            times, results = measure.warm(lambda: pool.map(sqrt, items), seconds)
        elif way == "chunksize1":
            items = measure.numbers(n)
            times, results = measure.warm(lambda: pool.map(sqrt, items, 1), seconds)
        elif way == "apply":
            times, results = measure.each(lambda x: pool.apply(sqrt, (x,)), measure.numbers(n))
        elif way == "sums":
            items = measure.arrays(n)
            times, results = measure.warm(lambda: pool.map(total, items), seconds)
    measure.report(times, measure.digest(results))


if __name__ == "__main__":
    main()
