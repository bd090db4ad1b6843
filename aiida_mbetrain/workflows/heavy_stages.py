"""The heavy stages, each as a calcfunction in this process and as jobs on a computer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiida import orm
from aiida.engine.processes.functions import ProcessFunctionType
from aiida.engine.processes.ports import PortNamespace
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.force_constants import force_constants
from aiida_mbetrain.calculations.functions.isolated_molecule import isolated_molecule
from aiida_mbetrain.calculations.functions.labels import labels
from aiida_mbetrain.calculations.functions.md_replicas import md_replicas
from aiida_mbetrain.calculations.functions.molecular_dynamics import molecular_dynamics
from aiida_mbetrain.calculations.functions.reference_labels import reference_labels
from aiida_mbetrain.calculations.functions.relaxation import relaxation
from aiida_mbetrain.calculations.functions.training import training
from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.workflows.jobs import (
    ForceConstantsJob,
    IsolatedMoleculeJob,
    LabelsJob,
    MDReplicasJob,
    MolecularDynamicsJob,
    ReferenceLabelsJob,
    RelaxationJob,
    StageJob,
    TrainingJob,
)


class HeavyStage(NamedTuple):
    """Two ways to run a stage; their ports have the same names, but for the namespace ``sets`` of labels."""

    function: ProcessFunctionType[..., object, orm.CalcFunctionNode]
    job: type[StageJob]

    @property
    def calculation(self) -> type[StageCalculation]:
        """The CalcJob behind the restart WorkChain."""
        return self.job._process_class


HEAVY = {
    "relaxation": HeavyStage(relaxation, RelaxationJob),
    "isolated_molecule": HeavyStage(isolated_molecule, IsolatedMoleculeJob),
    "molecular_dynamics": HeavyStage(molecular_dynamics, MolecularDynamicsJob),
    "md_replicas": HeavyStage(md_replicas, MDReplicasJob),
    "force_constants": HeavyStage(force_constants, ForceConstantsJob),
    "labels": HeavyStage(labels, LabelsJob),
    "reference_labels": HeavyStage(reference_labels, ReferenceLabelsJob),
    "training": HeavyStage(training, TrainingJob),
}


def define_heavy_stages(spec: WorkChainSpec, *stages: str) -> None:
    """The port ``code`` and, for each stage, a namespace with the job's metadata, monitors and limits of restarts."""
    spec.input(
        "code",
        valid_type=orm.AbstractCode,
        required=False,
        help="mbetrain-worker on some computer: the heavy stages run there as jobs; without it, in this process.",
    )
    for stage in stages:
        job, calculation = HEAVY[stage].job, HEAVY[stage].calculation
        spec.expose_inputs(job, stage, exclude=("calculation", "metadata"), namespace_options=_only_where_given())
        spec.expose_inputs(calculation, stage, include=("metadata", "monitors"), namespace_options=_only_where_given())
        spec.inputs[stage].validator = None  # of the whole CalcJob, most of whose ports are not here
    jobs_need_code(spec, {"": stages})
    close_namespaces(spec.inputs)


def jobs_need_code(spec: WorkChainSpec, stages: Mapping[str, Sequence[str]]) -> None:
    """Refuse options of jobs if no code is given to run them: they would be ignored.

    stages: by the namespace of the inputs they lie in, "" for the inputs themselves.
    """

    def validate(inputs: Nodes, _: object) -> str | None:
        if "code" in inputs:
            return None
        for section, names in stages.items():
            given = inputs.get(section, {}) if section else inputs
            for name in names:
                if given.get(name):
                    where = f"{section}.{name}" if section else name
                    return f"{where} is about jobs, and there is no code to run them: give code too, or leave it out."
        return None

    spec.inputs.validator = validate
    for section in stages:
        if section:
            spec.inputs[section].validator = None  # of the exposed WorkChain; its code is one level up


def close_namespaces(inputs: PortNamespace) -> None:
    """Refuse ports that were not declared: expose_inputs leaves every namespace dynamic, and would take a misspelt one.

    The metadata and the monitors, which are dynamic on purpose, stay as they are.
    """
    inputs.dynamic = False
    for name, port in inputs.items():
        if isinstance(port, PortNamespace) and name not in ("metadata", "monitors"):
            close_namespaces(port)


def _only_where_given() -> dict[str, bool]:
    """Properties of a namespace without whose ports a WorkChain runs; expose_inputs empties the dictionary."""
    return {"required": False, "populate_defaults": False}
