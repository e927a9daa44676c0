"""The protocol `bfv`: ciphertexts are added, and key holders open only a sum that enough clients answer for."""
