"""One stage alone, from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from aiida_mbetrain.cli.common import load, require_finished
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_mbetrain.data.crystals import Nodes
    from aiida_mbetrain.settings import JsonObject

OUTPUTS = {
    "relaxation": "relaxed.extxyz",
    "force_constants": "force_constants.hdf5",
    "md": "md_sampling.hdf5",
    "phonons": "phonon_sampling.hdf5",
}
"""Stage -> file that is written where none is named."""
SECTION_OF = {"relaxation": "quasi_harmonic", "force_constants": "quasi_harmonic", "md": "md_sampling"}
"""Stage -> section of the protocol with its settings."""


def builder_of_stage(
    stage: str,
    source: orm.Data,
    model: orm.Data,
    *,
    code: orm.AbstractCode | None = None,
    protocol: str | None = None,
    overrides: JsonObject | None = None,
    options: JsonObject | None = None,
) -> ProcessBuilder:
    """A builder of one of the stages of a training set; the relaxation is :func:`run_relaxation`'s.

    source: the crystal, or for phonons the force constants.
    """
    from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
    from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
    from aiida_mbetrain.workflows.protocols import ProtocolMixin
    from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain

    chains: dict[str, type[ProtocolMixin]] = {
        "force_constants": QuasiHarmonicWorkChain,
        "md": MDSamplingWorkChain,
        "phonons": PhononSamplingWorkChain,
    }
    return chains[stage].get_builder_from_protocol(
        source, model, code=code, protocol=protocol, overrides=overrides, options=options
    )


def relaxation_inputs(
    structure: orm.Data, model: orm.Data, protocol: str | None, overrides: JsonObject | None
) -> dict[str, orm.Data]:
    """Inputs of a relaxation, with the settings that its stage has in a training set."""
    from aiida import orm

    from aiida_mbetrain.workflows.protocols import protocol_settings

    settings = protocol_settings(protocol, overrides)
    return {
        "structure": structure,
        "model": model,
        "settings": orm.Dict(settings["quasi_harmonic"].to_dict()),
        "inference": orm.Dict(settings["inference"].to_dict()),
    }


def relaxation_job(code: orm.AbstractCode, options: JsonObject, inputs: Mapping[str, orm.Data]) -> ProcessBuilder:
    """A builder of the relaxation as jobs."""
    from aiida_mbetrain.workflows.jobs import RelaxationJob

    builder = RelaxationJob.get_builder()
    builder.calculation = {"code": code, **inputs, "metadata": {"options": dict(options)}}
    return builder


def run_relaxation(console: Console, inputs: Nodes, output: Path) -> None:
    """Relax in this process and write the relaxed crystal.  Raises MbetrainError if it fails."""
    from aiida_mbetrain.calculations.functions.interruption import Interruption, current
    from aiida_mbetrain.calculations.functions.relaxation import relaxation
    from aiida_mbetrain.cli.progress import progress_bars

    (current() or Interruption()).running = True
    with progress_bars(console):
        _, node = relaxation.run_get_node(**inputs)
    require_finished(node)
    node.outputs.structure.get_ase().write(output)
    facts = node.outputs.summary.get_dict()
    console.print(
        f"relaxation<{node.pk}>: {facts['n_steps']} steps of {facts['algorithm']}, largest force "
        f"{facts['max_force']:.2e} eV/Å, space group {facts['space_group']}"
    )
    console.print(f"{output.resolve()}  StructureData<{node.outputs.structure.pk}>", highlight=False, soft_wrap=True)


def read_force_constants(identifier: str | None) -> Any:
    """The ForceConstantsData of a pk or uuid, or of a run that has made them.  Raises InvalidSettings."""
    from aiida import orm

    from aiida_mbetrain.data.force_constants import ForceConstantsData

    if identifier is None:
        raise InvalidSettings(
            "--only phonons needs --force-constants: the pk of force constants, or of a run that has made them "
            "(`aiida-mbetrain run --only force_constants`)."
        )
    node = load(identifier)
    if isinstance(node, ForceConstantsData):
        return node
    if isinstance(node, orm.ProcessNode):
        outputs = node.outputs
        for where in (outputs, outputs.quasi_harmonic) if "quasi_harmonic" in outputs else (outputs,):
            if "force_constants" in where:
                return where["force_constants"]
    raise InvalidSettings(f"--force-constants {identifier}: <{node.pk}> neither is nor has made force constants.")
