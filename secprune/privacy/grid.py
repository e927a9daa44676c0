"""The grid of whole numbers on which clipped statistics stand: its unit, its bounds.

One unit (a patient, or a document) gives a vector of whole numbers: its statistics, then one coordinate that counts
it. The norm of the whole vector is at most NORM, which is what the task's `clip` becomes on the grid. Noise is whole
too, so that sums are exact and nothing is rounded after it has been drawn.
"""

from __future__ import annotations

NORM = 2**20
"""L2 norm of one unit's vector at most, its counting coordinate included; the task's `clip` is exactly so much."""

COUNT_UNITS = 2**17
"""What one unit adds to the coordinate that counts units: an eighth of NORM, which costs statistics 1/128 of theirs."""

VALUE_BITS = 44
"""Every value that a client sends lies in [-2^43, 2^43), noise included."""
