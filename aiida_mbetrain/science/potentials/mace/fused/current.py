"""Shared state of the fused modules of one model."""

from __future__ import annotations

from dataclasses import dataclass

from aiida_mbetrain.science.potentials.mace.fused.arrangement import Arrangement


@dataclass
class Current:
    """The arrangement of the batch that the model is about to evaluate."""

    _arrangement: Arrangement | None = None

    @property
    def arrangement(self) -> Arrangement:
        """The arrangement, which is set before every call of the model."""
        assert self._arrangement is not None
        return self._arrangement

    @arrangement.setter
    def arrangement(self, arrangement: Arrangement) -> None:
        self._arrangement = arrangement
