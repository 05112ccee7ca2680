"""The gate: did convergence get worse than a baseline's?"""
