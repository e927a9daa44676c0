"""Secure sums, without I/O: no clock, socket, file or ambient randomness; those come in as arguments.

`api` says what a protocol must offer the parties; `agreement` is how aggregators fix the cohort; `additive`
and `cleartext` are protocols.
"""
