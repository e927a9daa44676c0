"""The catalogue of what parties keep and see, as data. The library never imports it."""

from secprune_threat_models.system import Artefact, System, load_system

__all__ = ["Artefact", "System", "load_system"]
