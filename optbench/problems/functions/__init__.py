"""Functions of a few variables."""
