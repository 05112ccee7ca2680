"""Arrays to numbers: what comparisons, targets and budgets compute; no tables, no files."""
