"""Closed-form model of energies as a node."""

from __future__ import annotations

from typing import ClassVar

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.training import RidgeModel


class RidgeModelData(ScienceArrayData):
    """Weights of summed feature vectors that give the energy of reference minus baseline minus shifts."""

    science_class: ClassVar[type] = RidgeModel

    @classmethod
    def facts(cls, value: RidgeModel) -> dict[str, object]:
        """Regularisation and error of units that are left out."""
        return {"strength": value.strength, "left_out_rmse_eV": value.left_out_rmse, "n_features": len(value.weights)}
