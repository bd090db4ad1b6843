"""Labelled frames of a delta model as a node."""

from __future__ import annotations

from typing import ClassVar

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.training import SUBSETS, LabelledFrames


class LabelledFramesData(ScienceArrayData):
    """Clusters of all sizes and sources with labels of reference and baseline, divided for training and test."""

    science_class: ClassVar[type] = LabelledFrames

    @classmethod
    def facts(cls, value: LabelledFrames) -> dict[str, object]:
        """Labels, baseline, and the size of each part of the split."""
        return {
            "level_of_theory": value.level_of_theory,
            "method_hash": value.method_hash,
            "baseline": value.baseline,
            "n_frames": len(value),
            "n_energy_only": int((~value.with_forces).sum()),
        } | {f"n_{name}": int((value.subsets == subset).sum()) for subset, name in enumerate(SUBSETS)}
