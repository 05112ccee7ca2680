"""How fast this machine is at the moment: the time of a fixed piece of work.

Step times of two runs are compared as multiples of it, so that a slower machine does not look like
slower code.
"""

import time
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

ROUNDS = 7
SIZE = 192


def calibration_seconds() -> float:
    """Return the median time of a round of products and element-wise work, on one BLAS thread.

    A round is 4 products of 192 × 192 matrices in float32, and 4 times exp(−x²) of as many numbers.
    """
    values = np.linspace(-1.0, 1.0, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    seconds = []
    with threadpool_limits(limits=1, user_api="blas"):
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(4):
                np.exp(-np.square(values @ values / SIZE))
            seconds.append(time.perf_counter() - started)
    return float(median(seconds))
