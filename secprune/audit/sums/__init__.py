"""Checks of the secure sums: what single parties and coalitions see of a report, what sums say together, what passes.

    rounds             rounds of a task's protocol with keys of the audit's own: the study's reports stay closed
    uniformity         tests of whether words are uniform, and whether two samples can be told apart
    views              the same tests on what a coalition sees, for every protocol
    share_model        additive shares over a small modulus: every case, exactly
    share_view         additive shares at full width, through the protocol's code
    pairwise_view      masked words
    ciphertext_view    BFV ciphertexts
    randomness         where randomness may come from, by reading the package's source
    sealing            whether secrets are sealed under both halves of the hybrid key
    releases           which sums may follow each other
    collusion          weaknesses that every sum has: all aggregators, all other clients, two releases
    votes              the row-sum check, and the pair that it does not see
    malleability       a client with the aggregator of `bfv`
    models             whether another model than the task's is refused

Checks of `bfv` need tenseal when they are run, and not before.
"""
