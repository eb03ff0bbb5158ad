"""Ray's own multiprocessing.Pool with two processes; single remote tasks would take far longer."""

import logging
from math import sqrt

import ray
from ray.util.multiprocessing import Pool

import measure


def main():
    _, n, seconds = measure.arguments()
    items = measure.numbers(n)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    pool = Pool(2)
    times, results = measure.warm(lambda: pool.map(sqrt, items), seconds)
    measure.report(times, measure.digest(results))
    ray.shutdown()


if __name__ == "__main__":
    main()
