"""What a party remembers on its own disk: its keys, its journal, its pruning masks. Never shared."""
