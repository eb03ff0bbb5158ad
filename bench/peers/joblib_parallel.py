"""joblib.Parallel with two processes or threads."""

from math import sqrt

from joblib import Parallel, delayed

import measure


def total(numbers):
    return float(numbers.sum())


def main():
    way, n, seconds = measure.arguments()
    if way == "sums":  # loky puts arrays above 1 MB into files that the processes map
        func, items, prefer = total, measure.arrays(n), "processes"
    else:
        func, items, prefer = sqrt, measure.numbers(n), way
    parallel = Parallel(n_jobs=2, prefer=prefer)
    times, results = measure.warm(lambda: parallel(delayed(func)(x) for x in items), seconds)
    measure.report(times, measure.digest(results))


if __name__ == "__main__":
    main()
