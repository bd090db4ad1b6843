"""Queries, comparisons and verdicts on datasets and their files."""

from aiida_mbetrain.datasets.inspection.comparison import (
    Facts,
    SectionFacts,
    differences,
    file_facts,
    flat,
    section_path,
)
from aiida_mbetrain.datasets.inspection.dynamics import QUANTITIES, SeriesStatistics, series_statistics
from aiida_mbetrain.datasets.inspection.queries import (
    Row,
    file_datasets,
    file_destinations,
    file_origin,
    frame_facts,
    ranges,
    sections_of,
    unlabelled,
)
from aiida_mbetrain.datasets.inspection.verdict import Verdict, VerdictFacts
from aiida_mbetrain.datasets.inspection.verdicts import verdicts, verdicts_of_tree

__all__ = [
    "QUANTITIES",
    "Facts",
    "Row",
    "SectionFacts",
    "SeriesStatistics",
    "Verdict",
    "VerdictFacts",
    "differences",
    "file_datasets",
    "file_destinations",
    "file_facts",
    "file_origin",
    "flat",
    "frame_facts",
    "ranges",
    "section_path",
    "sections_of",
    "series_statistics",
    "unlabelled",
    "verdicts",
    "verdicts_of_tree",
]
