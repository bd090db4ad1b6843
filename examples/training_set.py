#!/usr/bin/env python
"""The complete training set of mbe-automation's document: same stages, same parameters, one provenance graph.

    python training_set.py solid.xyz my.model

needs an AiiDA profile (``verdi presto`` makes one).  Every stage runs in this process.
"""

from __future__ import annotations

import argparse
import json

import ase.io
import numpy as np
from aiida import load_profile, orm
from aiida.engine import run_get_node

from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.settings import (
    ClassicalMD,
    FiniteSubsystemFilter,
    FreeEnergy,
    Inference,
    MDSampling,
    PhononFilter,
    PhononSampling,
)
from aiida_mbetrain.workflows.protocols import merge
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

temperature_K = 298.15

inference = Inference(default_dtype="float64", device="auto")

md_sampling = MDSampling(
    temperature_K=temperature_K,
    pressure_GPa=1.0e-4,
    finite_subsystem_filter=FiniteSubsystemFilter(
        selection_rule="closest_to_central_molecule",
        n_molecules=np.array([1, 2, 3, 4, 5, 6, 7, 8]),
    ),
    md_crystal=ClassicalMD(
        ensemble="NPT",
        time_total_fs=10000.0,
        time_equilibration_fs=1000.0,
        sampling_interval_fs=1000.0,
        supercell_radius=10.0,
    ),
    root_key="training/md_sampling",
)

free_energy = FreeEnergy(
    thermal_expansion=False,
    relax_input_cell="constant_volume",
    supercell_radius=20.0,
    root_key="training/quasi_harmonic",
)

phonon_sampling = PhononSampling(
    temperature_K=temperature_K,
    finite_subsystem_filter=FiniteSubsystemFilter(
        selection_rule="closest_to_central_molecule",
        n_molecules=np.array([1, 2, 3, 4, 5, 6, 7, 8]),
    ),
    phonon_filter=PhononFilter(k_point_mesh="gamma", freq_min_THz=0.1, freq_max_THz=8.0),
    force_constants_key="training/quasi_harmonic/phonons/crystal[opt:atoms,shape]/force_constants",
    time_step_fs=100.0,
    n_frames=20,
    root_key="training/phonon_sampling",
)


def main() -> None:
    """Run the training set of a structure and a model, and write the HDF5 file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("structure", help="crystal, anything ASE reads")
    parser.add_argument("model", help="MACE model file")
    parser.add_argument("--dataset", default="training_set.hdf5", help="file to write")
    parser.add_argument("--overrides", type=json.loads, default={}, help="JSON {section: {field: value}}")
    arguments = parser.parse_args()
    load_profile()

    settings = {
        "md_sampling": md_sampling,
        "quasi_harmonic": free_energy,
        "phonon_sampling": phonon_sampling,
    }
    builder = TrainingSetWorkChain.get_builder()
    builder.structure = orm.StructureData(ase=ase.io.read(arguments.structure))
    builder.model = MaceModelData.get_or_create(arguments.model)
    builder.inference = orm.Dict(inference.to_dict())
    for section, values in settings.items():
        changed = merge(values.to_dict(), arguments.overrides.get(section, {}))
        builder[section].settings = orm.Dict(changed)
    _, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise SystemExit(f"{node.process_label}<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")
    write_dataset(arguments.dataset, dataset_of(stage_nodes(stages_of(node))))
    print(f"{arguments.dataset} holds what {node.process_label}<{node.pk}> computed")


if __name__ == "__main__":
    main()
