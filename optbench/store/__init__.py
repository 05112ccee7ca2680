"""A run's directory: what is written while it runs, and how it is found and read again.

Every file is written beside its place and renamed, so that a killed process leaves no half file
under a real name. Nothing that is there is ever overwritten by another run: each gets a directory
of its own. The layout stands in the README; the columns in :mod:`optbench.records`.
"""
