"""What MACE's own code reads of files for training."""

from __future__ import annotations

import ast
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEYS = {"energy_key": "REF_energy", "forces_key": "REF_forces", "stress_key": "REF_stress", "head_key": "head"}


@dataclass(frozen=True)
class Loaded:
    """E0s by atomic number and configurations by subset (train, valid, test) of one head."""

    e0s: dict[int, float]
    subsets: dict[str, list[Any]]

    @property
    def everything(self) -> list[Any]:
        """Configurations of all subsets."""
        return [configuration for subset in self.subsets.values() for configuration in subset]


def load_file(path: Path) -> tuple[dict[int, float], list[Any]]:
    """E0s and configurations of one extended XYZ file."""
    from mace.data.utils import KeySpecification, load_from_xyz, update_keyspec_from_kwargs

    specification = update_keyspec_from_kwargs(KeySpecification.from_defaults(), KEYS)
    return load_from_xyz(str(path), specification, extract_atomic_energies=True)


def load_folder(folder: Path) -> dict[str, Loaded]:
    """By head, what ``mace_run_train --config train.yaml`` reads in a folder, by the same steps."""
    from mace.data.utils import KeySpecification, update_keyspec_from_kwargs
    from mace.tools import build_default_arg_parser, check_args
    from mace.tools.multihead_tools import dict_head_to_dataclass, prepare_default_head
    from mace.tools.run_train_utils import normalize_file_paths
    from mace.tools.scripts_utils import get_dataset_from_xyz

    with contextlib.chdir(folder):
        args, _ = check_args(build_default_arg_parser().parse_args(["--config", "train.yaml"]))
        args.key_specification = update_keyspec_from_kwargs(KeySpecification(), vars(args))
        heads = prepare_default_head(args) if args.heads is None else ast.literal_eval(args.heads)
        loaded = {}
        for name, given in heads.items():
            head = dict_head_to_dataclass({"key_specification": args.key_specification} | given, name, args)
            collections, e0s = get_dataset_from_xyz(
                work_dir=args.work_dir,
                train_path=normalize_file_paths(head.train_file),
                valid_path=normalize_file_paths(head.valid_file) if head.valid_file else None,
                valid_fraction=head.valid_fraction,
                test_path=normalize_file_paths(head.test_file) if head.test_file else None,
                seed=args.seed,
                key_specification=head.key_specification,
                head_name=head.head_name,
                prefix=args.name,
            )
            test = [configuration for _, some in collections.tests for configuration in some]
            subsets = {"train": collections.train, "valid": collections.valid, "test": test}
            loaded[name] = Loaded(e0s, subsets)
        return loaded
