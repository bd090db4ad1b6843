"""Base class of the jobs: a heavy stage, run by ``mbetrain-worker`` on the computer of the code."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from aiida import orm
from aiida.common import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec

from aiida_mbetrain.calculations.cached_versions import PACKAGE_VERSIONS, package_versions
from aiida_mbetrain.calculations.exit_codes import define_exit_codes
from aiida_mbetrain.calculations.ports import define_potential_ports, validator_of
from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.settings import Inference, JsonObject, Settings
from aiida_mbetrain.worker import codec, job_file

INPUTS, MODEL = "inputs", "model"
DEFAULT_RESOURCES = {"num_machines": 1, "num_mpiprocs_per_machine": 1}


class StageCalculation(CalcJob):
    """A job that writes the inputs of a stage for the worker and retrieves its results.

    Subclasses name the stage, the class of its settings (None: it has none), a parser, and add their ports.
    """

    CACHE_VERSION = 1
    stage: ClassVar[str]
    needs_potential: ClassVar[bool] = True
    settings_class: ClassVar[type[Settings] | None] = None
    parser: ClassVar[str] = "mbetrain.stage"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports and exit codes common to all stages."""
        super().define(spec)
        if cls.needs_potential:
            define_potential_ports(spec)
        if cls.settings_class is not None:
            spec.input(
                "settings",
                valid_type=orm.Dict,
                validator=validator_of(cls.settings_class),
                help=f"The settings class {cls.settings_class.__name__}.",
            )
        spec.input("checkpoint", valid_type=orm.SinglefileData, required=False, help="Continue from here.")
        options: Any = spec.inputs["metadata"]["options"]  # type: ignore[index]
        options["parser_name"].default = cls.parser
        options["withmpi"].default = False
        options["resources"].default = lambda: dict(DEFAULT_RESOURCES)
        spec.input(
            "metadata.options.checkpoint_interval_seconds",
            valid_type=(int, float),
            default=600,
            help="Time between two saves of the checkpoint: what a job that is killed can lose.",
        )
        spec.output("run_info", valid_type=orm.Dict, required=False, help="Versions, machine, timings.")
        spec.output("checkpoint", valid_type=orm.SinglefileData, required=False, help="Of an unfinished job.")
        define_exit_codes(spec)

    def _setup_version_info(self) -> JsonObject:
        """Note the versions where AiiDA looks for an equal job before this one is stored."""
        info: JsonObject = super()._setup_version_info()
        self.node.base.attributes.set(PACKAGE_VERSIONS, package_versions())
        return info

    @abstractmethod
    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The nodes that become the science objects of the stage, by name."""

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write job.json and the arrays; ask for results, outputs and checkpoint."""
        root = Path(folder.abspath)
        (root / INPUTS).mkdir()
        entries = {
            name: codec.save(root, f"{INPUTS}/{name}", as_science(node)) for name, node in self.science_inputs().items()
        }
        codec.write_json(root / job_file.JOB_FILE, self._job(entries))
        program = CodeInfo()
        program.code_uuid = self.inputs.code.uuid
        program.cmdline_params = ["."]
        info = CalcInfo()
        info.codes_info = [program]
        info.prepend_text = self._threads()
        info.local_copy_list = self._files_to_copy()
        info.provenance_exclude_list = [INPUTS]  # these arrays are in the input nodes
        info.retrieve_list = [job_file.RESULTS_FILE, job_file.PROGRESS_FILE]
        info.retrieve_temporary_list = [job_file.OUTPUTS, job_file.CHECKPOINT]
        return info

    def _threads(self) -> str:
        """Environment variables that set as many threads as the job has cores, unless the user sets them.

        More threads than cores are several times slower."""
        cores = self.options.resources.get("num_cores_per_mpiproc") or 1
        return f'export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-{cores}}}"'

    def _job(self, entries: dict[str, JsonObject]) -> JsonObject:
        """The content of job.json, validated by the class with which the worker reads it."""
        job = {
            "schema_version": job_file.SCHEMA,
            "stage": self.stage,
            "settings": self.stage_settings(),
            "inference": self._inference().to_dict(),
            "model": self._model(),
            "inputs": entries,
            "max_seconds": self.options.get("max_wallclock_seconds"),
            "checkpoint": job_file.CHECKPOINT,
            "checkpoint_interval_s": float(self.options.checkpoint_interval_seconds),
        }
        return job_file.JobFile(**job).to_dict()

    def stage_settings(self) -> JsonObject:
        """Settings of the stage as plain data."""
        settings: JsonObject = self.inputs.settings.get_dict() if self.settings_class else {}
        return settings

    def _inference(self) -> Inference:
        return Inference(**self.inputs.inference.get_dict()) if self.needs_potential else Inference()

    def _model(self) -> JsonObject | None:
        if not self.needs_potential:
            return None
        model = self.inputs.model
        if isinstance(model, MaceModelData):
            return {"kind": "mace", "file": f"{MODEL}/{model.filename}", "sha256": model.sha256}
        if isinstance(model, SumModelData):
            files = [term | ({"file": f"{MODEL}/{term['file']}"} if "file" in term else {}) for term in model.terms]
            return {"kind": "sum", "terms": files}
        return {"kind": "ase", **model.get_dict()}

    def _files_to_copy(self) -> list[tuple[str, str, str]]:
        """Large files straight from AiiDA's repository: (uuid, file, path in the job's folder)."""
        copies = []
        if self.needs_potential and isinstance(self.inputs.model, MaceModelData):
            model = self.inputs.model
            copies.append((model.uuid, model.filename, f"{MODEL}/{model.filename}"))
        if self.needs_potential and isinstance(self.inputs.model, SumModelData):
            names = [term["file"] for term in self.inputs.model.terms if "file" in term]
            copies += [(self.inputs.model.uuid, name, f"{MODEL}/{name}") for name in names]
        if "checkpoint" in self.inputs:
            copies.append((self.inputs.checkpoint.uuid, self.inputs.checkpoint.filename, job_file.CHECKPOINT))
        return copies
