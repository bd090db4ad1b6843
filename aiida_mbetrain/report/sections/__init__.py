"""Sections of a page, in the order in which they are read."""

from __future__ import annotations

from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.sections.distances import distances_section
from aiida_mbetrain.report.sections.dynamics import dynamics_section
from aiida_mbetrain.report.sections.explore import explore_section
from aiida_mbetrain.report.sections.map import map_section
from aiida_mbetrain.report.sections.overview import headline, overview_section
from aiida_mbetrain.report.sections.phonons import phonons_section
from aiida_mbetrain.report.sections.provenance import provenance_section
from aiida_mbetrain.report.sections.reference_labels import reference_labels_section
from aiida_mbetrain.report.sections.thermodynamics import thermodynamics_section
from aiida_mbetrain.report.sections.trained_models import trained_models_section
from aiida_mbetrain.report.sections.verdicts import verdicts_section
from aiida_mbetrain.report.source import Source

__all__ = ["all_sections", "headline"]

SECTIONS = (
    verdicts_section,
    overview_section,
    dynamics_section,
    phonons_section,
    thermodynamics_section,
    map_section,
    explore_section,
    distances_section,
    reference_labels_section,
    trained_models_section,
    provenance_section,
)


def all_sections(source: Source) -> list[Section]:
    """Sections for which the dataset has data."""
    made = (make(source) for make in SECTIONS)
    return [section for section in made if section is not None]
