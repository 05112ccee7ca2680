"""Loops that Numba compiles in place of several passes of NumPy.

Each has the bits of the method of :class:`optbench.arrays.Workspace` that bears its name: the same
operations in the same order, each rounded by itself.
"""

import numpy as np


def rectify(values: np.ndarray, shift: np.ndarray) -> None:
    """Write max(values + shift, 0) over values (lanes, rows, columns); shift (lanes, columns)."""
    lanes, rows, columns = values.shape
    zero = values.dtype.type(0)
    for lane in range(lanes):
        shifts = shift[lane].copy()  # consecutive, as values are
        for row in range(rows):
            for column in range(columns):
                value = values[lane, row, column] + shifts[column]
                values[lane, row, column] = value if value > zero or value != value else zero


def rectify_back(grads: np.ndarray, values: np.ndarray, sums: np.ndarray) -> None:
    """Write 0 over grads where values are not positive, and their sums over rows into sums."""
    lanes, rows, columns = grads.shape
    one, zero = grads.dtype.type(1), grads.dtype.type(0)
    for lane in range(lanes):
        totals = np.zeros(columns, grads.dtype)
        for row in range(rows):
            for column in range(columns):
                keeps = one if values[lane, row, column] > zero else zero
                grad = grads[lane, row, column] * keeps
                grads[lane, row, column] = grad
                totals[column] += grad
        sums[lane, :] = totals


def gather_ratio(
    out: np.ndarray, rows: np.ndarray, indices: np.ndarray, divisor: np.ndarray
) -> None:
    """Write rows[indices] / divisor into out; rows (examples, columns), divisor a single number."""
    for place in range(len(indices)):
        index = indices[place]
        for column in range(out.shape[1]):
            out[place, column] = out.dtype.type(rows[index, column]) / divisor[0]


def less_largest(out: np.ndarray, values: np.ndarray) -> None:
    """Write values less the largest of their row into out (rows, columns)."""
    rows, columns = values.shape
    for row in range(rows):
        largest = values[row, 0]
        for column in range(1, columns):
            value = values[row, column]
            largest = largest if largest > value or largest != largest else value
        for column in range(columns):
            out[row, column] = values[row, column] - largest


def softmax_back(
    exponentials: np.ndarray,
    totals: np.ndarray,
    labels: np.ndarray,
    shifted: np.ndarray,
    picked: np.ndarray,
    likelihoods: np.ndarray,
) -> None:
    """Write y = exponentials / totals less one-hot labels over the exponentials.

    Exponentials and shifted scores have the shape (lanes, batch, classes), totals (lanes, batch),
    labels (lanes, batch) or (1, batch). Written are also the shifted score and the likelihood y of
    each label, (lanes, batch).
    """
    lanes, batch, classes = exponentials.shape
    one, zero = totals.dtype.type(1), totals.dtype.type(0)
    for lane in range(lanes):
        of_lane = labels[lane if len(labels) > 1 else 0]
        for example in range(batch):
            likelihood = score = zero
            for index in range(classes):
                y = exponentials[lane, example, index] / totals[lane, example]
                is_target = index == of_lane[example]
                likelihood += y if is_target else zero
                score += shifted[lane, example, index] if is_target else zero
                exponentials[lane, example, index] = y - (one if is_target else zero)
            picked[lane, example] = score
            likelihoods[lane, example] = likelihood


def all_finite(bits: np.ndarray, limits: np.ndarray, finite: np.ndarray) -> None:
    """Write whether the numbers of each row, (rows, columns), are finite into finite (rows,).

    They come as signed integers with the same bits; the limits are infinity's, and all but the
    sign's.
    """
    infinity, unsigned = limits[0], limits[1]
    for row in range(len(bits)):
        largest = unsigned & 0
        for column in range(bits.shape[1]):
            largest = max(largest, bits[row, column] & unsigned)
        finite[row] = largest < infinity
