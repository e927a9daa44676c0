"""What parties say to each other: small typed messages, each in a signed envelope.

Bulk data is never in a message; a message names chunks by their digests.
"""
