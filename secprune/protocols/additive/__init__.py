"""Additive secret sharing over Z_2^64 between two or more aggregators; one client message.

Private against all but one aggregator, the coordinator and any number of clients, up to what the sum
itself says. Correctness against a malicious aggregator is not claimed.

`sharing` splits and reads a report, `row_sums` is the consistency check of a report among aggregators,
`aggregate` adds shares and puts the sum together.
"""
