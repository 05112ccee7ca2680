"""PyTorch's optimizers on lanes."""
