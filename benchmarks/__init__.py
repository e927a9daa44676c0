"""How fast, how small on the wire and how lean in memory secprune is: `python -m benchmarks`."""
