"""`python -m secprune_cli`: the same as the `secprune` command."""

from secprune_cli.main import main

main()
