"""The gate, which asks whether convergence got worse than a baseline's."""
