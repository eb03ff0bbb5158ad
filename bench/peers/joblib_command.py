"""A whole program: square roots or sleeps with joblib. It prints how many results there are."""

import sys
import time
from math import sqrt

from joblib import Parallel, delayed


def main():
    work, prefer, jobs, n = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    parallel = Parallel(n_jobs=jobs, prefer=prefer)
    if work == "sqrt":
        results = parallel(delayed(sqrt)(x) for x in range(n))
    else:
        results = parallel(delayed(time.sleep)(float(work)) for _ in range(n))
    print(len(results))


if __name__ == "__main__":
    main()
