"""Energies and forces of fragments by quantum chemistry, as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.reference_labels import FragmentsData, ReferenceLabelsData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.settings import IN_PROCESS, ReferenceLabels

SHARE_OF_MEMORY = 0.8
"""Of the memory that the scheduler grants: the rest is Python, its libraries, and what the program does not count."""


class ReferenceLabelsCalculation(StageCalculation):
    """Same arrays as the calcfunction ``reference_labels``.

    Threads are the job's cores; memory is that of ``metadata.options.max_memory_kb``.
    """

    stage = "reference_labels"
    needs_potential = False
    settings_class = ReferenceLabels
    parser = "mbetrain.reference_labels"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Ports of the stage."""
        super().define(spec)
        spec.inputs["settings"].validator = validate_reference_settings
        spec.input("fragments", valid_type=FragmentsData, help="What is to be calculated.")
        spec.output("labels", valid_type=ReferenceLabelsData, required=False)
        spec.output("summary", valid_type=orm.Dict, required=False, help="Numbers of calculations and failures.")

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The fragments."""
        return {"fragments": self.inputs.fragments}

    def _threads(self) -> str:
        """Threads and memory, which PySCF asks for."""
        memory_kb = self.options.get("max_memory_kb")
        if memory_kb is None:
            return super()._threads()
        memory_MB = int(SHARE_OF_MEMORY * memory_kb / 1024)
        return f'{super()._threads()}\nexport MBETRAIN_MEMORY_MB="${{MBETRAIN_MEMORY_MB:-{memory_MB}}}"'


def validate_method(node: orm.Dict | None, _: object) -> str | None:
    """Refuse what the settings class refuses."""
    try:
        ReferenceLabels(**({} if node is None else node.get_dict()))
    except MbetrainError as error:
        return error.message
    return None


def validate_reference_settings(node: orm.Dict | None, _: object) -> str | None:
    """Refuse what the settings class refuses, and programs that are run elsewhere."""
    if node is None:
        return None
    try:
        method = ReferenceLabels(**node.get_dict()).method
    except MbetrainError as error:
        return error.message
    if method.program not in IN_PROCESS:
        return f"ReferenceLabels.method: {method.program} is run elsewhere; the stage calls {', '.join(IN_PROCESS)}."
    return None
