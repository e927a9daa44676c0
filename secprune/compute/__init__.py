"""Where a party's heavy work is done: in this process, in others of this machine, or on a cluster of its own."""
