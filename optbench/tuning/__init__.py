"""Tuning: what may be tried of hyperparameters, what is tried, and how much of it a budget buys."""
