"""Functions at points, as the engine asks for them."""

import numpy as np

from optbench.arrays import stack
from optbench.device.cpu import NumpyDevice


def at(function, points, device=None):
    """Return loss and gradients at points (lanes, parameters)."""
    device = device or NumpyDevice()
    shape = {"by_coordinate": function.by_coordinate}
    points = np.asarray(points, dtype=function.dtype)
    params, grads = (
        stack(device.rows(*points.shape, function.dtype, **shape), function.tensors, device.xp)
        for _ in range(2)
    )
    params.rows[...] = device.put(points)
    data = {name: device.put(array) for name, array in function.data().items()}
    batch = function.batch(data, {}, work=device.workspace())
    common = {"buffers": {}, "work": device.workspace()}
    loss, penalty = function.loss_and_grad(params, grads, batch, **common)
    again = function.loss(params, batch, **common)
    assert penalty is again.penalty is None
    assert device.get(again.total).tobytes() == device.get(loss).tobytes()
    assert device.get(params.rows).tolist() == points.tolist()
    return device.get(loss), device.get(grads.rows)


def in_domain(function, count, seed=1):
    low, high = np.array(function.domain).T
    return np.random.default_rng(seed).uniform(low, high, (count, len(low)))
