"""Write the JSON schema of threat models: `python -m scripts.make_threat_model_schema [--out FILE]`.

It follows from the types alone, so the tests make it again and compare byte for byte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from secprune_threat_models.model import schema

OUT = Path(__file__).parents[1] / "threat_models" / "secprune_threat_models" / "schema.json"


def main() -> None:
    """Write the schema."""
    parser = argparse.ArgumentParser(description="Write the JSON schema of threat models.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.parse_args().out.write_bytes(schema())


if __name__ == "__main__":
    main()
