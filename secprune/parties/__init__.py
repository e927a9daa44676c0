"""The parties: load, take one step, checkpoint, send. One module per party, and what they share."""
