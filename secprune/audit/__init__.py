"""Whether what parties recorded fits together: pure functions over their ledgers and what was posted."""
