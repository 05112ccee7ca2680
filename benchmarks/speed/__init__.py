"""How fast optbench is beside other ways to do the same: ``make bench``.

One run times the contenders on the same machine, data and batches, one after the other in turn, and
writes a JSON file with a description of the machine. Sections, in the order in which they run:

- ``network``: lane-steps of the textbook's network, by :mod:`~benchmarks.speed.network`
- ``function``: lane-steps of Adam on the textbook's function, by
  :mod:`~benchmarks.speed.function`
- ``parquet``: rows of a trace to files, by :mod:`~benchmarks.speed.parquet`
- ``processes``: commands from start to end, by :mod:`~benchmarks.speed.processes`
- ``overhead``: what recording and display take of a run, by :mod:`~benchmarks.speed.overhead`
- ``models``: models of PyTorch and JAX beside plain loops, by :mod:`~benchmarks.speed.models`
- ``memory``: the peak of a large run, by :mod:`~benchmarks.speed.memory`
"""
