"""Checks that optbench makes of itself on the machine at hand.

:mod:`~optbench.verify.devices` runs every optimizer on a function and on a small network on two
devices, and says how far apart their traces lie. :mod:`~optbench.verify.gradients` compares a
problem's gradient with differences of its loss. :mod:`~optbench.verify.optimizers` checks that an
optimizer keeps what every optimizer promises, leading it along the gradients of small quadratics
with :mod:`~optbench.verify.descent`.
"""
