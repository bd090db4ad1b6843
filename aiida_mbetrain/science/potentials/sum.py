"""Sum of potentials, such as a baseline and a delta model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ase.calculators.calculator import Calculator

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials.base import Potential
from aiida_mbetrain.science.potentials.calculator import PotentialCalculator
from aiida_mbetrain.science.progress import Report, silent


class SumPotential(Potential):
    """Sum of energies, forces and stress; the features are those of the first potential, the baseline."""

    def __init__(self, terms: Sequence[Potential]) -> None:
        self.terms = tuple(terms)
        known = [term.elements for term in self.terms if term.elements is not None]
        self.elements = frozenset.intersection(*known) if known else None
        fields = [term.receptive_field for term in self.terms]
        self.receptive_field = None if None in fields else max(field for field in fields if field is not None)
        self.feature_length = self.terms[0].feature_length

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential."""
        self.require_elements({int(number) for part in sets for number in part.numbers})
        share = len(self.terms)
        total = sum(part.n_frames * part.n_atoms for part in sets)
        summed = self.terms[0].evaluate(sets, features=features, report=lambda done, _: report(done // share, total))
        for number, term in enumerate(self.terms[1:], start=1):
            before = number * total
            added = term.evaluate(
                sets,
                report=lambda done, _, before=before: report((before + done) // share, total),  # type: ignore[misc]
            )
            summed = [_sum(one, other) for one, other in zip(summed, added, strict=True)]
        return summed

    def calculator(self) -> Calculator:
        """See Potential."""
        return PotentialCalculator(self)

    def describe(self) -> dict[str, str | float | int | None]:
        """Facts of the first potential; names and hashes of all of them."""
        facts = [term.describe() for term in self.terms]
        identities = [str(fact.get("sha256") or fact) for fact in facts]
        return facts[0] | {
            "name": " + ".join(str(fact["name"]) for fact in facts),
            "sha256": hashlib.sha256("\n".join(identities).encode()).hexdigest(),
            "terms": " + ".join(str(fact.get("sha256") or fact["name"]) for fact in facts),
        }


def _sum(one: Configurations, other: Configurations) -> Configurations:
    changes: dict[str, object] = {}
    for name in ("energies", "forces", "stress"):
        left, right = getattr(one, name), getattr(other, name)
        changes[name] = None if left is None or right is None else left + right
    return one.with_(**changes)
