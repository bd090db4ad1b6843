#!/usr/bin/env python
"""A WorkGraph made by hand: two crystals, one model, and phonon sampling of both at two temperatures.

    verdi daemon start
    python two_crystals_graph.py first.cif second.cif my.model

needs an AiiDA profile with a daemon.  The stage WorkChains are tasks like any other: their input ports are sockets, and
an output of one is an input of the next.
"""

from __future__ import annotations

import argparse
import json

import ase.io
from aiida import load_profile, orm
from aiida_workgraph import WorkGraph

from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.protocols import merge, protocol_settings
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain

temperatures_K = (100.0, 300.0)


def main() -> None:
    """Submit the graph, wait, and print the force constants and trajectories."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("structures", nargs=2, help="crystals, anything ASE reads")
    parser.add_argument("model", help="MACE model file")
    parser.add_argument("--overrides", type=json.loads, default={}, help="JSON {section: {field: value}}")
    arguments = parser.parse_args()
    load_profile()

    settings = protocol_settings("fast", arguments.overrides)
    model = MaceModelData.get_or_create(arguments.model)
    inference = orm.Dict(settings["inference"].to_dict())

    graph = WorkGraph("two_crystals")
    graph.max_number_jobs = 2
    for number, path in enumerate(arguments.structures, start=1):
        constants = graph.add_task(
            QuasiHarmonicWorkChain,
            name=f"force_constants_{number}",
            structure=orm.StructureData(ase=ase.io.read(path)),
            model=model,
            inference=inference,
            settings=orm.Dict(settings["quasi_harmonic"].to_dict()),
        )
        for temperature_K in temperatures_K:
            sampling = merge(settings["phonon_sampling"].to_dict(), {"temperature_K": temperature_K})
            graph.add_task(
                PhononSamplingWorkChain,
                name=f"phonons_{number}_{temperature_K:.0f}K",
                force_constants=constants.outputs.force_constants,  # shared by both temperatures
                model=model,
                inference=inference,
                settings=orm.Dict(sampling),
            )
    graph.submit(wait=True, timeout=3600)
    for task in graph.tasks:
        if task.process is not None:
            print(f"{task.name}: <{task.process.pk}> {task.state.lower()}")
    if not graph.process.is_finished_ok:
        raise SystemExit(f"<{graph.process.pk}> failed [{graph.process.exit_status}]: {graph.process.exit_message}")


if __name__ == "__main__":
    main()
