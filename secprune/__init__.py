"""secprune: hospitals prune one LLM together; the server side learns only summed pruning-mask counts."""

__version__ = "0.1.0"
