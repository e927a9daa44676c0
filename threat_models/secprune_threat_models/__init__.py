"""Threat models as data: what parties keep and send, every adversary with its view, claims and breaks, and how they stand.

The library never imports it.

    system    system.toml as types: parties, files, flows
    model     one adversary, as a TOML file says it
    loader    reads models, and refuses what would make them look better than they are
    matrix    claims and breaks of all models in one study, computed from the results of checks
    owasp     export to the schema of the OWASP Threat Model Library
"""

from secprune_threat_models.loader import load_models
from secprune_threat_models.matrix import evaluate
from secprune_threat_models.model import ThreatModel
from secprune_threat_models.owasp import owasp_document
from secprune_threat_models.system import Artefact, DeclaredFlow, System, load_system

__all__ = [
    "Artefact",
    "DeclaredFlow",
    "System",
    "ThreatModel",
    "evaluate",
    "load_models",
    "load_system",
    "owasp_document",
]
