#!/usr/bin/env python
"""Write the HDF5 dataset of finished runs and read it back.

python export_dataset.py 1234 5678 --dataset training_set.hdf5

takes the pks or uuids of a training set, or of stages that were run one by one (at most one of each kind), and
writes one file.  Without arguments it takes the latest finished training set of the profile.
"""

from __future__ import annotations

import argparse

from aiida import load_profile, orm

from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import clusters, list_groups, validate, write_dataset
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain


def latest_training_set() -> orm.WorkChainNode:
    """The training set that finished last; SystemExit where there is none."""
    query = orm.QueryBuilder()
    query.append(TrainingSetWorkChain, filters={"attributes.exit_status": 0}, tag="run")
    query.order_by({"run": {"ctime": "desc"}})
    node = query.first(flat=True)
    if node is None:
        raise SystemExit("This profile has no finished training set: run training_set.py, or give pks of stages.")
    return node


def main() -> None:
    """Write the file, check it, and list what it holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("processes", nargs="*", help="pks or uuids")
    parser.add_argument("--dataset", default="training_set.hdf5", help="file to write")
    arguments = parser.parse_args()

    load_profile()
    processes = [orm.load_node(process) for process in arguments.processes] or [latest_training_set()]
    stages = [stage for process in processes for stage in stages_of(process)]
    digest = write_dataset(arguments.dataset, dataset_of(stage_nodes(stages)))
    print(f"{arguments.dataset}, content {digest[:16]}")

    validate(arguments.dataset)
    for group in list_groups(arguments.dataset):
        print(f"{group.kind:18} {group.path}")
    for path, item in clusters(arguments.dataset):
        energies = item.configurations.energies / item.cluster.n_molecules
        print(f"{path}: {energies.mean():.4f} eV per molecule")


if __name__ == "__main__":
    main()
