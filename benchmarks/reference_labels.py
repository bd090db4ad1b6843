"""Reference labels of GFN2-xTB dimers of the demo crystal: overhead per fragment, and a thousand on two cores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aiida_mbetrain.demo import crystal
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.potentials import NoPotential
from aiida_mbetrain.science.reference_labels import Fragment, Fragments, backend_of, expand, split_by_cost
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.settings import FiniteSubsystemFilter, ReferenceLabels
from benchmarks.clock import seconds
from benchmarks.figure import Figure

SETTINGS = ReferenceLabels()
N_CORES = 2


def figures(*, small: bool) -> Iterator[Figure]:
    """Overhead of the stage beside the program's own time, of planning, and the throughput of two jobs."""
    stage, fragments = "reference labels, GFN2-xTB", dimers(8 if small else 100)
    label(fragments.select([0]))  # loads the program
    with evaluations() as spent:
        total = seconds(lambda: label(fragments), repeat=1)
    own = sum(spent)
    yield Figure(stage, f"overhead per fragment, {len(fragments)} dimers", 100 * (total / own - 1), "%", limit=5.0)
    yield Figure(stage, "program's own time per dimer", 1000 * own / len(fragments), "ms CPU")
    bundles = split_by_cost(dimers(20 if small else 1000), N_CORES)
    begin = time.perf_counter()
    # The libraries of the program start their own threads: processes are spawned, not forked.
    with ProcessPoolExecutor(N_CORES, mp_context=get_context("spawn")) as pool:
        n_labelled = sum(pool.map(label, bundles))
    elapsed = time.perf_counter() - begin
    yield Figure(stage, f"{n_labelled} dimers in {N_CORES} jobs side by side, start included", elapsed, "s elapsed")


@contextmanager
def evaluations() -> Iterator[list[float]]:
    """CPU seconds of each calculation by the program while the block runs."""
    program: Any = type(backend_of(SETTINGS.method))
    evaluate, spent = program.evaluate, []

    def timed(self: Any, fragment: Fragment) -> Any:
        begin = time.process_time()
        try:
            return evaluate(self, fragment)
        finally:
            spent.append(time.process_time() - begin)

    program.evaluate = timed
    try:
        yield spent
    finally:
        program.evaluate = evaluate


def dimers(n_frames: int) -> Fragments:
    """As many different dimers: the pair of nearest molecules in shaken copies of the crystal."""
    reference = Configurations.from_atoms(crystal())
    assert reference.cells is not None
    noise = 0.03 * np.random.default_rng(1).standard_normal((n_frames, reference.n_atoms, 3))
    frames = Configurations(
        reference.numbers, reference.positions + noise, cells=np.repeat(reference.cells, n_frames, axis=0)
    )
    molecules = detect_molecules(reference)
    rule = FiniteSubsystemFilter(n_molecules=[2], selection_rule="closest_to_central_molecule")
    (pairs,) = extract_clusters(molecules, frames, rule)
    return expand({"n_2": pairs}, {"n_2": molecules}, SETTINGS).fragments


def label(fragments: Fragments) -> int:
    """Run the stage as a job does, with its checkpoint; gives the number of labels."""
    with TemporaryDirectory() as folder:
        job = Job({"fragments": fragments}, NoPotential(), SETTINGS.to_dict(), checkpoint=Path(folder) / "checkpoint")
        return int(np.count_nonzero(STAGES["reference_labels"](job)["labels"].labelled))


if __name__ == "__main__":
    for figure in figures(small=False):
        print(figure)
