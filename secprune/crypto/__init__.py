"""Cryptography, all of it: primitives come from `cryptography`; nothing here is home-made.

No module of this package opens a file, a socket or a clock, and only `entropy` draws randomness.
"""
