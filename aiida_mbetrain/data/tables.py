"""Columns of numbers as a node."""

from __future__ import annotations

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.tables import Table


class TableData(ScienceArrayData):
    """Named columns, such as the thermodynamic series of a molecular dynamics run."""

    science_class = Table
