"""`secprune demo`: a whole study on one machine, every party a process of its own.

material   model and notes of the hospitals
consortium the parties' directories and the very commands that real parties run
referee    knows everything, as nobody in a study does: the cleartext comparison and perplexities
summary    the table and result.json
"""

from secprune_cli.demo.command import demo

__all__ = ["demo"]
