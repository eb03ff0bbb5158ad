"""Two multiprocessing.Process, each of which draws numbers and multiplies them from left to right."""

import random
from functools import reduce
from multiprocessing import Process, Queue

import measure

MODULUS = 2**61 - 1  # the products are compared by their remainders, because Python writes long numbers slowly


def func(number, seed, remainders):
    random.seed(seed)
    product = reduce(lambda x, y: x * y, random.sample(range(1000000), number))
    remainders.put((seed, product % MODULUS))


def main():
    _, n, seconds = measure.arguments()

    def work():
        remainders = Queue()
        processes = [Process(target=func, args=(n, seed, remainders)) for seed in (1, 2)]
        for p in processes:
            p.start()
        for p in processes:
            p.join()
        return sorted(remainders.get() for _ in processes)

    times, outcome = measure.sample(work, seconds)
    measure.report(times, " ".join(str(remainder) for _, remainder in outcome))


if __name__ == "__main__":
    main()
