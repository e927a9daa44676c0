"""`secprune experiment`: the ablation grids of the pruning papers on any model and any text, in cleartext.

grid       grid files to cells: what is varied, and what stays as it is
material   whose windows a client prunes with, and the texts that masks are judged on
plan       cells to measurements, ordered so that one local pruning serves all that need it
bench      the model in memory: masked, judged, and made dense again
simulate   one measurement: what the parties of a study would compute, without its cryptography
store      results.jsonl and the local masks on disk; what makes a run resumable
report     tables for people and for programs; plots draws them
"""

from secprune_cli.experiment.command import experiment

__all__ = ["experiment"]
