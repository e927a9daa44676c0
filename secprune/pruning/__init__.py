"""Local pruning masks from a client's own notes, and the pruned checkpoint from the summed counts.

`notes`, `tensorfile`, `selection` and `checkpoint` need numpy only, so that a coordinator or an
aggregator without the `prune` extra can import them; the other modules import torch.
"""
