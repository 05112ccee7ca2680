"""optbench: benchmarks first-order optimizers; every run is a row."""

__version__ = "0.1.0"
