"""The command line: parse, call one function of `secprune.parties`, show the result."""
