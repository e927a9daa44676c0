"""The parties of the protocol `pairwise`: they feed its state machines and send what these say."""
