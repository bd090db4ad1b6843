"""A dataset as one HTML page that opens anywhere: verdicts, figures, a map of its clusters, provenance.

A page is a list of sections, each made by a function of ``sections`` from the tree of the
file.  ``write_report`` reads the source, makes the sections and writes the page.  Nothing here imports aiida.
"""

from aiida_mbetrain.report.run_facts import Call, RunFacts
from aiida_mbetrain.report.trained_models import Judgement, TrainedModel
from aiida_mbetrain.report.writer import write_model_report, write_report

__all__ = ["Call", "Judgement", "RunFacts", "TrainedModel", "write_model_report", "write_report"]
