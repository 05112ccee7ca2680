"""optax's transformations on lanes."""
