"""What can be read off pruning masks, counts and sums: attacks by somebody who has the public model and public text."""
