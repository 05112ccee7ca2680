"""Functions of JAX as problems."""
