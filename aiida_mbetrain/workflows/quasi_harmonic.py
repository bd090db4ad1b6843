"""Harmonic properties of a crystal and, with thermal expansion, of its volumes and its equilibrium at temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.ports import InputPort
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.isolated_molecule import molecule_of_crystal, sublimation
from aiida_mbetrain.calculations.functions.thermal_expansion import sampled_structures, thermal_expansion
from aiida_mbetrain.data.crystals import EQUILIBRIUM, VOLUMES, link_label
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.science.thermodynamics import (
    bracketing_advice,
    check_thermal_expansion,
    equilibrium_names,
    molecules_per_cell,
    sampled_names,
)
from aiida_mbetrain.settings import FreeEnergy
from aiida_mbetrain.workflows.base import validator_of
from aiida_mbetrain.workflows.harmonic_crystal import HarmonicCrystalWorkChain
from aiida_mbetrain.workflows.protocols import ProtocolMixin

MOLECULE_NODES = ("relaxed", "vibrations", "summary")
SAMPLE_NODES = ("relaxed", "relaxation", "thermodynamics")


def validate_settings(node: orm.Dict | None, context: object) -> str | None:
    """FreeEnergy, with settings that can lead to an equation of state where one is asked for."""
    message = validator_of(FreeEnergy)(node, context)
    if message is not None or node is None:
        return message
    settings = FreeEnergy(**node.get_dict())
    try:
        if settings.thermal_expansion:
            check_thermal_expansion(settings)
    except MbetrainError as error:
        return error.message
    return None


class QuasiHarmonicWorkChain(ProtocolMixin, HarmonicCrystalWorkChain):
    """The harmonic crystal and, with thermal expansion, its equation of state.

    Every sampled volume (or pressure) and every equilibrium volume is a HarmonicCrystalWorkChain of its own; those
    that do not depend on one another run at the same time in a daemon.
    """

    protocol_section = "quasi_harmonic"
    heavy_stages: ClassVar[tuple[str, ...]] = ("relaxation", "force_constants", "isolated_molecule")

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        settings = spec.inputs["settings"]
        assert isinstance(settings, InputPort)
        settings.default = lambda: orm.Dict(FreeEnergy().to_dict())  # expansion included
        settings.validator = validate_settings
        spec.input(
            "molecule",
            valid_type=orm.StructureData,
            required=False,
            help="The crystal's molecule, not periodic: adds the properties of sublimation, as the setting "
            "`sublimation` does with a molecule of the crystal.",
        )
        spec.outline(
            cls.setup,
            *cls.harmonic_steps(),
            if_(cls.should_expand)(
                cls.run_volumes,
                cls.inspect_volumes,
                cls.fit_equation_of_state,
                cls.run_equilibrium,
                cls.inspect_equilibrium,
            ),
            if_(cls.should_sublimate)(cls.derive_sublimation),
            cls.results,
        )
        spec.output("equilibrium", valid_type=TableData, required=False, help="V, F, bulk modulus ... per temperature.")
        spec.output("equation_of_state", valid_type=TableData, required=False, help="Sampled F(V, T) and the fits.")
        spec.output("samples", valid_type=orm.Dict, required=False, help="Which volumes entered the fits, and why not.")
        spec.output("sublimation", valid_type=TableData, required=False, help="Of the relaxed crystal.")
        spec.output("sublimation_equilibrium", valid_type=TableData, required=False, help="Of the crystal at V(T).")
        spec.output_namespace("molecule", dynamic=True, required=False, help="The relaxed molecule, its vibrations.")
        for namespace, what in ((VOLUMES, "every sampled volume"), (EQUILIBRIUM, "every V(T)")):
            spec.output_namespace(namespace, dynamic=True, required=False, help=f"The harmonic crystal at {what}.")

    def setup(self) -> ExitCode | None:
        """The isolated molecule, where one is asked for; refuse one that does not make up the crystal."""
        self.ctx.settings = FreeEnergy(**self.inputs.settings.get_dict())
        if "molecule" in self.inputs:
            self.ctx.molecule = self.inputs.molecule
            try:
                molecules_per_cell(*map(structure_to_configurations, (self.inputs.structure, self.inputs.molecule)))
            except MbetrainError as error:
                return self.refuse(error)
        elif self.ctx.settings.sublimation:
            node = self.call(molecule_of_crystal, "molecule_of_crystal", structure=self.inputs.structure)
            if not node.is_finished_ok:
                return self.failed(node)
            self.ctx.molecule = node.outputs.result
        return super().setup()

    def run_relaxation(self) -> ToContext[str, orm.ProcessNode] | None:
        """Relax the input structure, and the molecule at the same time."""
        if self.should_sublimate():
            started = self.compute("isolated_molecule", structure=self.ctx.molecule, settings=self.inputs.settings)
            self.to_context(**(started or {}))
        return super().run_relaxation()

    def inspect_relaxation(self) -> ExitCode | None:
        """Stop where a relaxation failed."""
        failure = self.failed(self.ctx.isolated_molecule) if self.should_sublimate() else None
        return failure or super().inspect_relaxation()

    def should_sublimate(self) -> bool:
        """Return True if there is an isolated molecule."""
        return "molecule" in self.ctx

    def derive_sublimation(self) -> ExitCode | None:
        """Sublimation of the relaxed crystal, and of the crystals at V(T)."""
        reference = {
            "relaxed": self.ctx.relaxation.outputs.relaxed,
            "thermodynamics": self.ctx.thermodynamics.outputs.result,
        }
        wanted = {"sublimation": {"reference": reference}}
        if self.ctx.settings.thermal_expansion:
            wanted["sublimation_equilibrium"] = {
                name: {key: nodes[key] for key in reference} for name, nodes in self.ctx.equilibrium.items()
            }
        for name, crystals in wanted.items():
            molecule = {key: self.ctx.isolated_molecule.outputs[key] for key in MOLECULE_NODES}
            self.ctx[name] = self.call(sublimation, name, **molecule, **crystals)
            if not self.ctx[name].is_finished_ok:
                return self.failed(self.ctx[name])
        return None

    def should_expand(self) -> bool:
        """Return True if an equation of state is requested."""
        return bool(self.ctx.settings.thermal_expansion)

    def run_volumes(self) -> ExitCode | None:
        """The crystal at every sampled volume, or under every sampled pressure; in the reference's supercell."""
        settings = self.ctx.settings
        reference = self.ctx.force_constants.outputs.force_constants
        self.ctx.one_crystal = {
            "thermal_expansion": False,
            "sublimation": False,
            "relax_input_cell": "constant_volume",
            "supercell_matrix": reference.get_array("supercell_matrix").T.tolist(),
            # already in the matrix; a volume that relaxes to a higher symmetry is not to be refused for it
            "keep_point_group": False,
        }
        node = self.call(
            sampled_structures, "sampled_structures", force_constants=reference, settings=self.inputs.settings
        )
        if not node.is_finished_ok:
            return self.failed(node)
        shared = self._settings_of_one()
        for name, point in zip(sampled_names(settings), settings.eos_points, strict=True):
            link = link_label(name)
            if settings.eos_sampling == "pressure":
                shared = self._settings_of_one(relax_input_cell="full", pressure_GPa=settings.pressure_GPa + point)
            self._launch_crystal(link, node.outputs[link], shared)
        return None

    def inspect_volumes(self) -> None:
        """Report the volumes that failed, which the fit leaves out."""
        self.ctx.volumes, self.ctx.failures = {}, {}
        for name in sampled_names(self.ctx.settings):
            node = self.ctx[link_label(name)]
            if node.is_finished_ok:
                self.ctx.volumes[link_label(name)] = dict(_outputs(node))
            else:
                self.failed(node)
                reason = f"<{node.pk}> [{node.exit_status}] {node.exit_message}"
                self.ctx.failures[link_label(name)] = {"label": name, "used": False, "removed_by": reason}

    def fit_equation_of_state(self) -> ExitCode | None:
        """Equilibrium volumes; temperatures without one are reported."""
        self.ctx.expansion = self.call(
            thermal_expansion,
            "thermal_expansion",
            force_constants=self.ctx.force_constants.outputs.force_constants,
            relaxation=self.ctx.relaxation.outputs.summary,
            settings=self.inputs.settings,
            failures=orm.Dict(self.ctx.failures),
            **{name: {key: nodes[key] for key in SAMPLE_NODES} for name, nodes in self.ctx.volumes.items()},
        )
        if self.ctx.expansion.is_finished_ok:
            self._report_fit()
        return self.failed(self.ctx.expansion)

    def _report_fit(self) -> None:
        outputs = self.ctx.expansion.outputs
        for facts in outputs.samples.get_dict().values():
            if not facts["used"]:
                self.report(f"{facts['label']} is left out of the fits: {facts['removed_by']}")
        table, volumes = outputs.equilibrium.to_science(), outputs.curves.get_array("sampled_volumes")
        for row in np.flatnonzero(~table["bracketed"]):
            advice = bracketing_advice(
                self.ctx.settings,
                table["V_fit_A3"][row],
                ratio=table["missing_volume_ratio"][row],
                pressure_GPa=table["missing_pressure_GPa"][row],
            )
            self.report(
                f"at {table['temperature_K'][row]} K the free energy has no minimum between {volumes[0]:.2f} and "
                f"{volumes[-1]:.2f} Å³: {advice}"
            )

    def run_equilibrium(self) -> None:
        """The crystal at V(T), for every temperature that has one."""
        for temperature, name in zip(
            self.ctx.settings.temperatures_K, equilibrium_names(self.ctx.settings), strict=True
        ):
            link = link_label(name)
            if link in self.ctx.expansion.outputs.structures:
                settings = self._settings_of_one(temperatures_K=[temperature])
                self._launch_crystal(link, self.ctx.expansion.outputs.structures[link], settings)

    def inspect_equilibrium(self) -> ExitCode | None:
        """Stop where one of them failed."""
        self.ctx.equilibrium = {}
        for name in self.ctx.expansion.outputs.structures:
            if not self.ctx[name].is_finished_ok:
                return self.failed(self.ctx[name])
            self.ctx.equilibrium[name] = dict(_outputs(self.ctx[name]))
        return None

    def results(self) -> None:
        """Hand out the nodes of molecule and expansion; those of the crystal are handed out where they are made."""
        if self.should_sublimate():
            self.out("molecule", {key: self.ctx.isolated_molecule.outputs[key] for key in MOLECULE_NODES})
            for name in ("sublimation", "sublimation_equilibrium"):
                if name in self.ctx:
                    self.out(name, self.ctx[name].outputs.result)
        if not self.ctx.settings.thermal_expansion:
            return
        self.out("equilibrium", self.ctx.expansion.outputs.equilibrium)
        self.out("equation_of_state", self.ctx.expansion.outputs.curves)
        self.out("samples", self.ctx.expansion.outputs.samples)
        self.out(VOLUMES, self.ctx.volumes)
        self.out(EQUILIBRIUM, self.ctx.equilibrium)

    def _settings_of_one(self, **changes: object) -> orm.Dict:
        """The settings of a crystal among several."""
        return orm.Dict(self.ctx.settings.to_dict() | self.ctx.one_crystal | changes)

    def _launch_crystal(self, name: str, structure: orm.StructureData, settings: orm.Dict) -> None:
        ports = set(HarmonicCrystalWorkChain.spec().inputs) & set(self.inputs) - {"metadata"}
        inputs: dict[str, object] = {port: self.inputs[port] for port in ports}
        started = self.launch(
            HarmonicCrystalWorkChain, name, **(inputs | {"structure": structure, "settings": settings})
        )
        self.to_context(**(started or {}))


def _outputs(node: orm.WorkChainNode) -> Iterator[tuple[str, orm.Data]]:
    for link in node.base.links.get_outgoing(node_class=orm.Data).all():
        assert isinstance(link.node, orm.Data)
        yield link.link_label, link.node
