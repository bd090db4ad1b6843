"""Result of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure.  limit: to stay at or below (or, with ``at_least``, to reach); None: for information."""

    stage: str
    what: str
    value: float
    unit: str = ""
    limit: float | None = None
    at_least: bool = False

    def __str__(self) -> str:
        return f"{self.stage}: {self.what}: {self.value:.3g} {self.unit}".rstrip()

    @property
    def reached(self) -> bool | None:
        """None where there is nothing to reach."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit
