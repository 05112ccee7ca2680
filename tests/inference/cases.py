"""Arrays of the worked cases; docs/statistics.md has their numbers."""

import numpy as np

RATIOS = np.array([0.92, 0.95, 0.90, 1.01, 0.88, 0.97, 0.93, 0.96])
"""Case 7: ratios of two optimizers' losses over eight seeds."""

ERRORS_A = np.array([5.08, 5.04, 5.28, 5.19, 5.15, 5.39, 5.73, 4.97, 5.30, 4.79])
ERRORS_B = np.array([5.01, 5.24, 5.30, 5.07, 5.23, 5.44, 5.35, 6.22, 5.66, 5.61])
"""Case 9: test errors in points."""

DEMSAR = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)
"""Case 22: ranks of four classifiers on 14 problems, Demšar (2006), table 6."""

Z_A = np.array([[0.9, 0.5, 0.7], [0.8, 0.55, 0.2], [1.0, 0.6, 0.0], [0.95, 0.45, 0.6]])
Z_B = np.array([[0.7, 0.6, 0.7], [0.85, 0.5, 0.3], [0.75, 0.65, 0.4], [0.9, 0.55, 0.5]])
"""Case 24: normalised scores, runs × problems, larger is better."""
