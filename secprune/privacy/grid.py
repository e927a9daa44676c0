"""The integer grid on which statistics of patients are bounded, summed and noised.

One unit (a patient) is a vector of whole numbers whose Euclidean norm is at most NORM, which stands for the task's clip
bound. One of its coordinates is COUNT_UNITS, for every unit the same: it counts them, and lies within the bound.
"""

NORM = 2**20
"""Bound of the norm of one unit, in steps of the grid."""

COUNT_UNITS = 2**17
"""What a unit adds to the coordinate that counts units: an eighth of the norm, which leaves 99.2% to the rest."""

FEATURES_NORM_SQUARED = NORM**2 - COUNT_UNITS**2
"""Bound of the squared norm of a unit's other coordinates."""

RAW_UNITS = 2**16
"""Of square-sums without noise: steps of the grid for each reference square-mean."""
