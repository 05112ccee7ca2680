"""Checks that optbench makes of itself on the machine at hand.

:mod:`~optbench.verify.devices` runs every optimizer on a function and on a small network on two
devices, and says how far apart the traces come to lie. :mod:`~optbench.verify.gradients` compares a
problem's gradient with differences of its loss. :mod:`~optbench.verify.optimizers` sees whether an
optimizer keeps what every optimizer promises (:mod:`~optbench.verify.promises`) on small quadratics
(:mod:`~optbench.verify.descent`).
"""
