"""Dynamics of one crystal at several conditions as one job, and a sampling by molecular dynamics of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import MDReplicas
from aiida_mbetrain.workflows.base import INTERRUPTIONS, validator_of
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages
from aiida_mbetrain.workflows.label_jobs import define_n_jobs
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.protocols import check_options, protocol_settings, set_options
from aiida_mbetrain.workflows.supercell_start import SupercellWorkChain


class ReplicaSamplingWorkChain(SupercellWorkChain):
    """Run the dynamics of all replicas as one job; hand each to an MDSamplingWorkChain of its own.

    Those are the stages that a dataset is made of, each with the settings and the outcome of its replica.
    """

    heavy_stages = ("relaxation", "md_replicas", "labels")

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input(
            "settings",
            valid_type=orm.Dict,
            validator=validator_of(MDReplicas),
            help="The settings class MDReplicas.",
        )
        define_heavy_stages(spec, *cls.heavy_stages)
        define_n_jobs(spec)
        spec.outline(
            cls.setup,
            if_(cls.should_relax)(cls.run_relaxation, cls.inspect_relaxation),
            cls.build_supercell,
            cls.detect_molecules,
            cls.run_replicas,
            cls.inspect_replicas,
            cls.start_samplings,
            cls.results,
        )
        spec.output("outcomes", valid_type=orm.Dict, help="Status and message of every replica.")
        for name, types, what in (
            ("replicas", (orm.TrajectoryData, TableData), "By name of the replica: trajectory and thermodynamics."),
            ("clusters", ClusterSetData, "By name of the replica: its labelled clusters."),
        ):
            spec.output_namespace(name, valid_type=types, dynamic=True, required=False, help=what)

    @classmethod
    def get_builder_from_protocol(
        cls,
        structure: orm.StructureData,
        model: orm.Data,
        replicas: Mapping[str, Mapping[str, object]],
        *,
        code: orm.AbstractCode | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> ProcessBuilder:
        """A builder with a protocol's settings.

        replicas: conditions and seeds by name, ``{"cold": {"temperature_K": 100.0, "rng_seed": 1}, ...}``; fields
            that are left out are those of the protocol: temperature_K, pressure_GPa, rng_seed.
        code: mbetrain-worker on some computer; without it the heavy stages run in this process.
        overrides: ``{"md_sampling": {...}, "inference": {...}}``; only fields that differ from the protocol.
        options: ``metadata.options`` of the jobs.
        """
        settings = protocol_settings(protocol, overrides)
        sampling = settings["md_sampling"].to_dict()
        usual = {name: sampling[name] for name in ("temperature_K", "pressure_GPa")}
        usual["rng_seed"] = sampling["md_crystal"]["rng_seed"]
        chosen = {name: usual | dict(changes) for name, changes in replicas.items()}
        builder = cls.get_builder()
        builder.structure = structure
        builder.model = model
        builder.inference = orm.Dict(settings["inference"].to_dict())
        builder.settings = orm.Dict(MDReplicas(sampling=sampling, replicas=chosen).to_dict())
        if check_options(code, options):
            builder.code = code
            set_options(builder, cls.heavy_stages, options)
        return builder

    def setup(self) -> ExitCode | None:
        """Check structure, elements and masses."""
        self.ctx.replicas = MDReplicas(**self.inputs.settings.get_dict())
        return self.begin(self.ctx.replicas.of(next(iter(self.ctx.replicas.replicas))))

    def run_replicas(self) -> ToContext[str, orm.ProcessNode] | None:
        """Molecular dynamics of all replicas."""
        settings = self.ctx.replicas.to_dict()
        wanted = {"sampling": {"md_crystal": settings["sampling"]["md_crystal"]}, "replicas": settings["replicas"]}
        return self.compute("md_replicas", supercell=self.ctx.supercell, settings=orm.Dict(wanted))

    def inspect_replicas(self) -> ExitCode | None:
        """Hand out the dynamics; stop where not all replicas have come to an end, good or bad."""
        self.out("supercell", self.ctx.supercell)
        outputs = self.ctx.md_replicas.outputs
        if "outcomes" not in outputs:
            return self.failed(self.ctx.md_replicas)
        self.out("outcomes", outputs.outcomes)
        for replica, made in outputs.replicas.items() if "replicas" in outputs else ():
            for name, node in made.items():
                self.out(f"replicas.{replica}.{name}", node)
        return None

    def start_samplings(self) -> None:
        """Start the sampling of every replica; in a daemon all at once, else until one is told to stop."""
        for name in self.ctx.replicas.replicas:
            started = self.launch(MDSamplingWorkChain, _step(name), **self._inputs_of_sampling(name))
            if started:
                self.to_context(**started)
            elif self.ctx[_step(name)].exit_status in INTERRUPTIONS:
                return

    def _inputs_of_sampling(self, name: str) -> dict[str, Any]:
        made = self.ctx.md_replicas.outputs
        replica = {} if "replicas" not in made or name not in made.replicas else dict(made.replicas[name].items())
        replica["supercell"] = self.ctx.supercell
        replica["outcome"] = orm.Dict(made.outcomes[name])
        if self.ctx.settings.relax_first:
            replica["relaxed_structure"] = self.ctx.structure
        shared = ("structure", "model", "inference", "code", "labels", "n_jobs")
        given = {port: self.inputs[port] for port in shared if port in self.inputs}
        return {**given, "settings": orm.Dict(self.ctx.replicas.of(name).to_dict()), "replica": replica}

    def results(self) -> ExitCode | None:
        """Hand out the clusters; end with the code of the first sampling that failed."""
        samplings = {name: self.ctx[_step(name)] for name in self.ctx.replicas.replicas if _step(name) in self.ctx}
        for name, sampling in samplings.items():
            if "clusters" in sampling.outputs:
                for key, node in sampling.outputs.clusters.items():
                    self.out(f"clusters.{name}.{key}", node)
        failures = [sampling for sampling in samplings.values() if not sampling.is_finished_ok]
        return self.failed(failures[0]) if failures else None


def _step(name: str) -> str:
    return f"sampling_{name}"
