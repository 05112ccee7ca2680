"""One execution of a suite: lanes, blocks, results on disk.

It is not called ``run``, since :func:`optbench.run` is the function that people call.
"""
