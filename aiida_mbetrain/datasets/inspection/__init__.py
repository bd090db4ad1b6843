"""Queries and comparisons of dataset files."""

from aiida_mbetrain.datasets.inspection.comparison import (
    Facts,
    SectionFacts,
    differences,
    file_facts,
    flat,
    section_path,
)
from aiida_mbetrain.datasets.inspection.queries import (
    Row,
    file_datasets,
    file_destinations,
    file_origin,
    frame_facts,
    ranges,
)

__all__ = [
    "Facts",
    "Row",
    "SectionFacts",
    "differences",
    "file_datasets",
    "file_destinations",
    "file_facts",
    "file_origin",
    "flat",
    "frame_facts",
    "ranges",
    "section_path",
]
