"""Complete workflow from a crystal and a model to the training set."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.dataset import build_dataset, dataset_inputs
from aiida_mbetrain.data.crystals import crystals
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.science.stages import estimate_all
from aiida_mbetrain.science.thermodynamics import name_of_key
from aiida_mbetrain.workflows.base import INTERRUPTIONS, StageWorkChain, check_inputs
from aiida_mbetrain.workflows.heavy_stages import close_namespaces, jobs_need_code
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.protocols import SECTIONS, check_options, protocol_settings, set_options
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain

COMMON = ("structure", "model", "inference", "code")
StageClass = type[MDSamplingWorkChain | QuasiHarmonicWorkChain | PhononSamplingWorkChain]
STAGES: tuple[StageClass, ...] = (MDSamplingWorkChain, QuasiHarmonicWorkChain, PhononSamplingWorkChain)


class TrainingSetWorkChain(StageWorkChain):
    """Molecular dynamics, force constants, phonon sampling, and one HDF5 dataset of all."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.expose_inputs(MDSamplingWorkChain, include=COMMON)
        spec.expose_inputs(QuasiHarmonicWorkChain, include=COMMON)
        spec.expose_inputs(PhononSamplingWorkChain, include=("model", "inference", "code"))
        spec.expose_inputs(MDSamplingWorkChain, namespace="md_sampling", exclude=(*COMMON, "replica"))
        spec.expose_inputs(QuasiHarmonicWorkChain, namespace="quasi_harmonic", exclude=COMMON)
        spec.expose_inputs(PhononSamplingWorkChain, namespace="phonon_sampling", exclude=(*COMMON, "force_constants"))
        jobs_need_code(spec, {child.protocol_section: child.heavy_stages for child in STAGES})
        close_namespaces(spec.inputs)
        spec.outline(
            cls.setup,
            cls.run_crystal,
            cls.inspect_crystal,
            cls.run_phonon_sampling,
            cls.inspect_phonon_sampling,
            cls.inspect_stages,
            cls.build_dataset,
        )
        spec.expose_outputs(MDSamplingWorkChain, namespace="md_sampling")
        spec.expose_outputs(QuasiHarmonicWorkChain, namespace="quasi_harmonic")
        spec.expose_outputs(PhononSamplingWorkChain, namespace="phonon_sampling")
        spec.output("dataset", valid_type=orm.SinglefileData, help="The HDF5 training set.")
        spec.output(
            "verdicts", valid_type=orm.List, help="Verdicts on it: name, passed, value, advice and section of each."
        )

    @classmethod
    def get_builder_from_protocol(
        cls,
        structure: orm.StructureData,
        model: orm.Data,
        *,
        code: orm.AbstractCode | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> ProcessBuilder:
        """A builder with a protocol's settings.

        code: mbetrain-worker on some computer; without it the heavy stages run in this process.
        overrides: ``{"inference" | "md_sampling" | "quasi_harmonic" | "phonon_sampling": {field: value}}``.
        options: ``metadata.options`` of the jobs, the same for every stage; change single ones in the builder:
            ``builder.md_sampling.molecular_dynamics.metadata.options.max_wallclock_seconds = 3600``.
        """
        settings = protocol_settings(protocol, overrides)
        builder = cls.get_builder()
        builder.structure = structure
        builder.model = model
        builder.inference = orm.Dict(settings.pop("inference").to_dict())
        for section, values in settings.items():
            builder[section].settings = orm.Dict(values.to_dict())
        if check_options(code, options):
            builder.code = code
            for child in STAGES:
                set_options(builder[child.protocol_section], child.heavy_stages, options)
        return builder

    def setup(self) -> ExitCode | None:
        """Make the checks of all stages before the first one runs; report the sizes."""
        self.ctx.settings = {
            section: SECTIONS[section](**self.inputs[section].settings.get_dict())
            for section in ("md_sampling", "quasi_harmonic", "phonon_sampling")
        }
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
            for stage in estimate_all(structure_to_configurations(self.inputs.structure), *self.ctx.settings.values()):
                self.report(str(stage))
        except MbetrainError as error:
            return self.refuse(error)
        return None

    def run_crystal(self) -> ExitCode | None:
        """Run dynamics, and relaxation with force constants; in a daemon at the same time.

        A failure of one does not stop the other, unless the run was told to stop.
        """
        for child in (MDSamplingWorkChain, QuasiHarmonicWorkChain):
            started = self._start(child, child.protocol_section)
            if started:
                self.to_context(**started)
            elif self.ctx[child.protocol_section].exit_status in INTERRUPTIONS:
                return self._failure_of(child)
        return None

    def inspect_crystal(self) -> None:
        """Hand out what the two have made, also if one of them failed."""
        self._hand_out(MDSamplingWorkChain)
        self._hand_out(QuasiHarmonicWorkChain)

    def run_phonon_sampling(self) -> object:
        """Frames along the modes of the crystal that ``force_constants_key`` names, and their clusters."""
        if not self.ctx.quasi_harmonic.is_finished_ok:
            return None
        free_energy, key = self.ctx.settings["quasi_harmonic"], self.ctx.settings["phonon_sampling"].force_constants_key
        name, quasi_harmonic = name_of_key(key, free_energy), self.ctx.quasi_harmonic
        found = crystals(quasi_harmonic.outputs, free_energy)
        if name not in found:
            step = f"phonon sampling with force_constants_key = {key!r}"
            reason = f"{name} was not computed (see the report of <{quasi_harmonic.pk}>); there are {', '.join(found)}"
            return self.exit_codes.ERROR_CHILD_FAILED.format(step=step, reason=reason)
        return self._start(PhononSamplingWorkChain, "phonon_sampling", force_constants=found[name]["force_constants"])

    def inspect_phonon_sampling(self) -> None:
        """Hand out what phonon sampling has made."""
        if "phonon_sampling" in self.ctx:
            self._hand_out(PhononSamplingWorkChain)

    def inspect_stages(self) -> ExitCode | None:
        """Stop where a stage failed: a dataset is built of all; ``export`` writes what there is."""
        failures = [failure for child in STAGES if (failure := self._failure_of(child)) is not None]
        if not failures:
            return None
        message = "; ".join(str(failure.message) for failure in failures)
        return ExitCode(failures[0].status, message)

    def _failure_of(self, child: StageClass) -> ExitCode | None:
        return self.failed(self.ctx[child.protocol_section]) if child.protocol_section in self.ctx else None

    def _hand_out(self, child: StageClass) -> None:
        namespace = child.protocol_section
        self.out_many(self.exposed_outputs(self.ctx[namespace], child, namespace=namespace))

    def _start(
        self, child: type[StageWorkChain], namespace: str, **extra: orm.Data
    ) -> ToContext[str, orm.ProcessNode] | None:
        return self.launch(child, namespace, **self.exposed_inputs(child, namespace), **extra)

    def build_dataset(self) -> ExitCode | None:
        """Store the HDF5 file and hand it out."""
        stages = [self.ctx.md_sampling, self.ctx.quasi_harmonic, self.ctx.phonon_sampling]
        self.ctx.dataset = self.call(build_dataset, "build_dataset", **dataset_inputs(stages))
        failure = self.failed(self.ctx.dataset)
        if failure is None:
            self.out("dataset", self.ctx.dataset.outputs.result)
            self.out("verdicts", self.ctx.dataset.outputs.verdicts)
        return failure
