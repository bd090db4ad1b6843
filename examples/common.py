"""Arguments of the example scripts, and their exit after a failed run."""

from __future__ import annotations

import argparse
import json
from typing import Any

import ase.io
from aiida import load_profile, orm
from aiida.engine import run_get_node

from aiida_mbetrain import demo
from aiida_mbetrain.data.mace_model import MaceModelData


def arguments_of(description: str | None) -> argparse.ArgumentParser:
    """The arguments common to the stages; structure and model are the demo's where none is given."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    parser.add_argument("--structure", help="crystal, anything ASE reads")
    parser.add_argument("--model", help="MACE model file", default=demo.model_path())
    parser.add_argument("--protocol", default="fast", help="named set of settings")
    parser.add_argument("--overrides", type=json.loads, default={}, help="JSON {section: {field: value}}")
    return parser


def inputs_of(arguments: argparse.Namespace) -> tuple[orm.StructureData, MaceModelData]:
    """Load the default profile and give the two nodes that every run starts from."""
    load_profile()
    crystal = ase.io.read(arguments.structure) if arguments.structure else demo.crystal()
    return orm.StructureData(ase=crystal), MaceModelData.get_or_create(arguments.model)


def finished(builder: Any) -> orm.WorkChainNode:
    """Run in this process; SystemExit with the named error where it fails."""
    _, node = run_get_node(builder)
    if not node.is_finished_ok:
        raise SystemExit(f"{node.process_label}<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")
    return node
