"""Any potential as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials.base import Potential


class PotentialCalculator(Calculator):
    """ASE calculator with one evaluation of the potential per structure, in any order of requests.

    ``results``: energy, free_energy (eV), forces (eV/Å), and stress (eV/Å³, Voigt order) where periodic.  A finite
    system has no stress: asking for it raises ASE's PropertyNotImplementedError.  Features (N, D) come with them
    only where they are requested, because copying them at every step of a trajectory would be wasted.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "features"]  # noqa: RUF012

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``; raises InvalidStructure if only some directions are periodic."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        frame = Configurations.from_atoms(self.atoms)
        [labelled] = self.potential.evaluate([frame], features="features" in (properties or ()))
        assert labelled.energies is not None
        assert labelled.forces is not None
        energy = float(labelled.energies[0])
        self.results = {"energy": energy, "free_energy": energy, "forces": labelled.forces[0]}
        if labelled.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(labelled.stress[0])
        if labelled.features is not None:
            self.results["features"] = labelled.features[0]
