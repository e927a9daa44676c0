"""The parties of the protocol `bfv`: they feed its state machines and send what these say."""
