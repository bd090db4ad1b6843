"""Inspection of datasets: verdicts on their quality."""

from aiida_mbetrain.datasets.inspection.verdicts import Verdict, verdicts

__all__ = ["Verdict", "verdicts"]
