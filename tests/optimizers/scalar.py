"""Optimizers for one parameter, line by line as their papers and libraries have them.

Each takes the start, the gradients and its hyperparameters, and yields the parameter after each
update. Nothing here is shared with the package, or folded into factors as it is there.
"""

import math


def sign(x):
    return (x > 0) - (x < 0)


def sgd(w, gradients, lr):
    for g in gradients:
        w = w - lr * g
        yield w


def momentum(w, gradients, lr, momentum):
    v = 0.0
    for g in gradients:
        v = momentum * v - lr * g
        w = w + v
        yield w


def nesterov(w, gradients, lr, momentum):
    v = 0.0
    for g in gradients:
        v = momentum * v
        v = v - lr * g
        w = w + momentum * momentum * v
        w = w - (1 + momentum) * lr * g
        yield w


def sgd_torch(w, gradients, lr, momentum, dampening, nesterov):
    buffer = None
    for g in gradients:
        if momentum != 0:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        w = w - lr * g
        yield w


def rooted(square, eps, eps_place):
    """Return the root of a square, with eps inside or outside."""
    return {
        "outside": lambda: math.sqrt(square) + eps,
        "inside": lambda: math.sqrt(square + eps),
    }[eps_place]()


def adagrad(w, gradients, lr, eps, eps_place, initial):
    total = initial
    for g in gradients:
        total = total + g**2
        w = w - lr * g / rooted(total, eps, eps_place)
        yield w


def rmsprop(w, gradients, lr, decay, eps, eps_place, bias_correction):
    square = 0.0
    for t, g in enumerate(gradients, 1):
        square = decay * square + (1 - decay) * g**2
        mean = square / (1 - decay**t) if bias_correction else square
        w = w - lr * g / rooted(mean, eps, eps_place)
        yield w


def rmsprop_torch(w, gradients, lr, decay, eps, eps_place, momentum, centered):
    square = mean = buffer = 0.0
    for g in gradients:
        square = decay * square + (1 - decay) * g**2
        mean = decay * mean + (1 - decay) * g
        root = rooted(square - mean**2 if centered else square, eps, eps_place)
        buffer = momentum * buffer + g / root
        w = w - lr * buffer
        yield w


def adadelta(w, gradients, lr, decay, eps):
    square = square_step = 0.0
    for g in gradients:
        square = decay * square + (1 - decay) * g**2
        step = math.sqrt(square_step + eps) / math.sqrt(square + eps) * g
        square_step = decay * square_step + (1 - decay) * step**2
        w = w - lr * step
        yield w


def signum(w, gradients, lr, momentum):
    mean = 0.0
    for g in gradients:
        mean = momentum * mean + (1 - momentum) * g
        w = w - lr * sign(mean)
        yield w


def lion(w, gradients, lr, beta1, beta2, weight_decay):
    m = 0.0
    for g in gradients:
        update = sign(beta1 * m + (1 - beta1) * g)
        w = w - lr * (update + weight_decay * w)
        m = beta2 * m + (1 - beta2) * g
        yield w


def rprop(w, gradients, lr, eta_minus, eta_plus, step_min, step_max):
    size, previous = lr, 0.0
    for g in gradients:
        if previous * g > 0:
            size = size * eta_plus
        elif previous * g < 0:
            size = size * eta_minus
            g = 0.0
        size = min(max(size, step_min), step_max)
        w = w - sign(g) * size
        previous = g
        yield w


def moments(gradients, beta1, beta2):
    """Yield t, the gradient, and both moments corrected for their bias."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        yield t, g, m / (1 - beta1**t), v / (1 - beta2**t)


def adam(w, gradients, lr, beta1, beta2, eps, eps_place, bias_correction):
    for t, _, m, v in moments(gradients, beta1, beta2):
        if not bias_correction:
            m, v = m * (1 - beta1**t), v * (1 - beta2**t)
        root = math.sqrt(v) + eps
        if eps_place == "uncorrected" and bias_correction:
            corrected = math.sqrt(1 - beta2**t)
            root = (math.sqrt(v) * corrected + eps) / corrected
        w = w - lr * m / root
        yield w


def amsgrad(w, gradients, lr, beta1, beta2, eps, largest_of, bias_correction):
    largest = 0.0
    for t, _, m, v in moments(gradients, beta1, beta2):
        first, second = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        m, v = m * (1 - beta1**t), v * (1 - beta2**t)
        if largest_of == "corrected":
            largest = max(largest, v / second)
            root = math.sqrt(largest) + eps
        else:
            largest = max(largest, v)
            root = math.sqrt(largest / second) + eps
        w = w - lr * (m / first) / root
        yield w


def adamw(w, gradients, lr, beta1, beta2, eps, weight_decay):
    for _, _, m, v in moments(gradients, beta1, beta2):
        w = w - lr * weight_decay * w
        w = w - lr * m / (math.sqrt(v) + eps)
        yield w


def adamax(w, gradients, lr, beta1, beta2, eps):
    largest = 0.0
    for _, g, m, _ in moments(gradients, beta1, beta2):
        largest = max(beta2 * largest, abs(g) + eps)
        w = w - lr * m / largest
        yield w


def nadam(w, gradients, lr, beta1, beta2, eps, momentum_decay):
    product = 1.0
    for t, g, m, v in moments(gradients, beta1, beta2):
        now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        following = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product = product * now
        m = m * (1 - beta1**t)
        update = (1 - now) * g / (1 - product) + following * m / (1 - product * following)
        w = w - lr * update / (math.sqrt(v) + eps)
        yield w


def radam(w, gradients, lr, beta1, beta2, eps, eps_place):
    longest = 2 / (1 - beta2) - 1
    for t, _, m, v in moments(gradients, beta1, beta2):
        correction = 1 - beta2**t
        length = longest - 2 * t * beta2**t / correction
        if length > 5:
            above = (length - 4) * (length - 2) * longest
            below = (longest - 4) * (longest - 2) * length
            rectified = m * math.sqrt(above / below)
            if eps_place == "corrected":
                m = rectified / (math.sqrt(v) + eps)
            else:
                m = rectified * math.sqrt(correction) / (math.sqrt(v * correction) + eps)
        w = w - lr * m
        yield w


def adabelief(w, gradients, lr, beta1, beta2, eps, eps_root):
    m = s = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps_root
        w = w - lr * (m / (1 - beta1**t)) / (math.sqrt(s / (1 - beta2**t)) + eps)
        yield w


def yogi(w, gradients, lr, beta1, beta2, eps, initial, bias_correction):
    m, v = 0.0, initial
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g**2) * g**2
        first, second = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        w = w - lr * (m / first) / (math.sqrt(v / second) + eps)
        yield w


def adan(w, gradients, lr, beta1, beta2, beta3, eps, eps_root, weight_decay, ahead):
    share = {"beta2": beta2, "1-beta2": 1 - beta2}[ahead]
    m = v = n = 0.0
    before = None
    for t, g in enumerate(gradients, 1):
        change = 0.0 if before is None else g - before
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * change
        n = beta3 * n + (1 - beta3) * (g + share * change) ** 2
        corrected = m / (1 - beta1**t) + share * v / (1 - beta2**t)
        root = math.sqrt(n / (1 - beta3**t) + eps_root) + eps
        w = w - lr * (weight_decay * w + corrected / root)
        before = g
        yield w
