"""The protocol `pairwise`: one aggregator, pairwise masks, dropouts recovered (Bonawitz et al. 2017, active-adversary variant)."""
