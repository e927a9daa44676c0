"""What differential privacy does to the pruned model: a table of epsilon, patients, hospitals and public references.

`cells` says what is measured; `units` takes each patient's statistics, once; `measure` makes the masks that a study would
end with and judges them; `table` writes the results down; `command` is the command.
"""

from secprune_cli.utility.command import utility

__all__ = ["utility"]
