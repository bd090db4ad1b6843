"""Import of MACE without its training side, which is there as soon as something asks for it."""

from __future__ import annotations

import subprocess
import sys

TRAINING_SIDE = ("torchmetrics", "pandas", "matplotlib", "scipy.signal", "torch._dynamo", "mace.tools.train")

EVALUATION = f"""
import sys
from aiida_mbetrain.demo import crystal, model_path
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import Inference
atoms = crystal()
atoms.calc = load_mace(model_path(), Inference(device="cpu")).calculator()
energy = atoms.get_potential_energy()
found = [name for name in {TRAINING_SIDE} if name in sys.modules]
assert not found, found
"""

WHOLE = """
import types
import e3nn.io, mace.tools, mace.tools.compile
assert all(not isinstance(getattr(mace.tools, name), types.ModuleType) for name in mace.tools.__all__)
assert e3nn.io.SphericalTensor.__name__ == "SphericalTensor"
assert type(mace.tools) is type(e3nn.io) is types.ModuleType
assert mace.tools.scatter is sys.modules["mace.tools.scatter"]
assert callable(mace.tools.compile.dynamo.allow_in_graph)
import torch._dynamo
assert mace.tools.compile.dynamo.allow_in_graph is torch._dynamo.allow_in_graph
from mace.calculators import MACECalculator
atoms.calc = MACECalculator(str(model_path()), device="cpu", default_dtype="float64")
assert abs(atoms.get_potential_energy() - energy) < 1e-6
"""

TRAINING_MODULE_FIRST = """
from mace.tools.train import SWAContainer
from mace.tools import train
assert callable(train) and SWAContainer
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_evaluation_imports_nothing_of_trainings_and_the_rest_of_mace_works_after_it():
    run(EVALUATION + WHOLE)


def test_a_module_of_the_training_side_brings_the_whole_package():
    run(EVALUATION + TRAINING_MODULE_FIRST)
