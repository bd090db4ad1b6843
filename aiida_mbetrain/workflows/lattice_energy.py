"""Lattice energy of a static crystal at the level of a reference method."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode
from aiida.engine.processes.ports import InputPort
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.clusters import detect_molecules
from aiida_mbetrain.calculations.functions.lattice_energy import (
    expansion_of_crystal,
    lattice_energy,
    lattice_fragments,
)
from aiida_mbetrain.calculations.reference_labels import validate_reference_settings
from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.settings import ReferenceLabels
from aiida_mbetrain.workflows.base import check_inputs
from aiida_mbetrain.workflows.fragment_bundles import FragmentBundles, bundles_of, known_labels


class LatticeEnergyWorkChain(FragmentBundles):
    """Correct the baseline's energy of the periodic crystal by the n-body differences of reference and baseline.

    The fragments of the crystal's symmetry orbits are calculated by jobs where a code is given, otherwise in this
    process; the baseline's labels of the same fragments are cheap and made in this process.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        settings = spec.inputs["settings"]
        assert isinstance(settings, InputPort)
        settings.validator = validate_reference_settings
        spec.input("structure", valid_type=orm.StructureData, help="The crystal, relaxed.")
        spec.input(
            "cutoffs",
            valid_type=orm.Dict,
            help="Largest distance between molecules of an n-mer, Å, by number of molecules as text: {'2': 8.0}.",
        )
        spec.outline(cls.setup, cls.make_fragments, cls.run_jobs, cls.inspect_jobs, cls.add_up, cls.results)
        spec.output("convergence", valid_type=TableData, help="Lattice energy by order and distance.")
        spec.output("summary", valid_type=orm.Dict, help="Energies of reference and baseline.")
        spec.output("counts", valid_type=orm.Dict, help="Numbers of orbits, clusters and fragments.")

    def setup(self) -> ExitCode | None:
        """The molecules of the crystal, and what the profile knows of their fragments."""
        settings = ReferenceLabels(**self.inputs.settings.get_dict())
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
        except MbetrainError as error:
            return self.refuse(error)
        unequal = orm.Dict({"assert_identical_composition": False})
        detected = self.call(detect_molecules, "detect", structure=self.inputs.structure, settings=unequal)
        if not detected.is_finished_ok:
            return self.failed(detected)
        crystal = detected.outputs.result
        try:
            expansion = expansion_of_crystal(as_science(crystal), settings, self.inputs.cutoffs.get_dict())
        except MbetrainError as error:
            return self.refuse(error)
        self.ctx.known = known_labels(settings, set(expansion.fragments.ids.tolist()))
        self.ctx.shared = {
            "molecular_crystal": crystal,
            "settings": self.inputs.settings,
            "cutoffs": self.inputs.cutoffs,
        }
        return None

    def make_fragments(self) -> ExitCode | None:
        """Fragments without a label, in bundles."""
        node = self.call(
            lattice_fragments, "fragments", n_jobs=self.inputs.n_jobs, known=self.ctx.known, **self.ctx.shared
        )
        if node.is_finished_ok:
            self.ctx.bundles = bundles_of(node)
            self.ctx.counts = node.outputs.summary
            self.report("{n_orbits} orbits: {n_fragments} fragments, {n_known} known".format(**self.ctx.counts))
        return self.failed(node)

    def add_up(self) -> ExitCode | None:
        """The baseline's labels, and the sum over orbits."""
        self.ctx.sum = self.call(
            lattice_energy,
            "add_up",
            model=self.inputs.model,
            inference=self.inputs.inference,
            labels=self.labels_of_fragments(),
            **self.ctx.shared,
        )
        return self.failed(self.ctx.sum)

    def results(self) -> None:
        """Hand out the nodes."""
        self.out("convergence", self.ctx.sum.outputs.convergence)
        self.out("summary", self.ctx.sum.outputs.summary)
        self.out("counts", self.ctx.counts)
