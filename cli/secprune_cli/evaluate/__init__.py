"""`secprune evaluate`: perplexity of a checkpoint on a text, or its accuracy on lm-eval's tasks."""

from secprune_cli.evaluate.command import evaluate

__all__ = ["evaluate"]
