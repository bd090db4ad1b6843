"""Speed and memory of a potential on this machine, measured on one structure."""

from __future__ import annotations

import time
from dataclasses import dataclass

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import CPU_BATCH_ATOMS, Potential
from aiida_mbetrain.science.stages.memory_use import Growth, measured
from aiida_mbetrain.science.stages.stage_estimate import StageEstimate
from aiida_mbetrain.settings import Inference


@dataclass(frozen=True)
class Probe:
    """Measured speed and memory of a potential on this machine.

    seconds_per_atom: CPU time of all threads together, which other work on the machine does not prolong; on a GPU
        elapsed time.
    n_features: per atom, 0 without.
    memory: for n_atoms evaluated at once, with features; None where the system does not tell.
    batch_atoms: small configurations are evaluated together up to this many atoms.
    """

    seconds_per_atom: float
    n_features: int
    n_atoms: int
    batch_atoms: int
    memory: Growth | None

    def peak_bytes(self, stage: StageEstimate, inference: Inference) -> int | None:
        """Memory at its peak while the stage's supercells and clusters are evaluated, with the frames that it holds.

        The growth over what the process holds anyway is taken as proportional to the atoms.
        """
        if self.memory is None:
            return None
        at_once = max(stage.n_atoms, self.batch_atoms)
        held = 0 if self.memory.on_device else stage.bytes_held(self.n_features, inference)
        return self.memory.before + round(self.memory.grown * at_once / self.n_atoms) + held


def probe_potential(structure: Configurations, potential: Potential, *, batch_atoms: int | None = None) -> Probe:
    """Measure time and memory on this structure; ``batch_atoms`` as in ``Inference``.

    The first evaluation is of a whole batch and warms the model up; of three more the fastest counts.
    """
    batch_atoms = batch_atoms or CPU_BATCH_ATOMS
    batch = structure.select([0] * max(1, batch_atoms // structure.n_atoms))
    [labelled], memory = measured(lambda: potential.evaluate([batch], features=True))
    on_cpu = memory is None or not memory.on_device
    seconds = min(_seconds(potential, structure, on_cpu=on_cpu) for _ in range(3)) / structure.n_atoms
    n_features = 0 if labelled.features is None else labelled.features.shape[-1]
    return Probe(seconds, n_features, batch.n_frames * batch.n_atoms, batch_atoms, memory)


def _seconds(potential: Potential, structure: Configurations, *, on_cpu: bool) -> float:
    clock = time.process_time if on_cpu else time.perf_counter
    start = clock()
    potential.evaluate([structure])
    return clock() - start
