"""Models written with PyTorch or JAX as problems, their lanes stacked."""
