"""The leakage report: evidence of an audit as one HTML file that can be printed and filed.

A reader may be no cryptographer: what is not protected comes first, and no figure goes without a sentence. Whatever
comes from a study (names above all) is hostile input, and reaches the page through the templates' escaping only.
"""

from __future__ import annotations

from secprune_cli.report.render import render
from secprune_cli.report.words import CheckText

__all__ = ["CheckText", "render"]
