"""Calculation of fragments one after another: failures recorded, finished ones kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aiida_mbetrain.errors import ReferenceCalculationFailed
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.reference_labels.backends import Backend
from aiida_mbetrain.science.reference_labels.fragments import Fragments
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels


def label_fragments(
    fragments: Fragments,
    backend: Backend,
    method_hash: str,
    *,
    done: FragmentLabels | None = None,
    on_fragment: Callable[[FragmentLabels], None] = lambda labels: None,
    report: Report = silent,
    memory_MB: float | None = None,
) -> FragmentLabels:
    """Energies and forces of all fragments.

    done: of an earlier run, to be continued: what has an energy or a failure there is not calculated again.
    on_fragment: called with the labels so far after each fragment; it may raise to interrupt the work.
    memory_MB: that of the program, for the message of a calculation that runs out of it.
    A calculation that fails is recorded with the program's message, and the rest goes on.  ``report`` counts fragments.
    Raises InvalidSettings before anything is calculated where the program cannot treat one of the fragments.
    """
    backend.check(fragments)
    labels = done or FragmentLabels.empty(fragments, method_hash)
    labels = replace(
        labels, failures=dict(labels.failures), programs=tuple(sorted({*labels.programs, backend.program}))
    )
    left = [row for row in range(len(fragments)) if np.isnan(labels.energies[row]) and row not in labels.failures]
    report(len(fragments) - len(left), len(fragments))
    for n_done, row in enumerate(left, start=len(fragments) - len(left) + 1):
        try:
            evaluation = backend.evaluate(fragments[row])
        except ReferenceCalculationFailed as error:
            labels = replace(labels, failures={**labels.failures, row: error.message})
        except MemoryError as error:
            given = "" if memory_MB is None else f" of {memory_MB:.0f} MB"
            message = f"{backend.package}: out of memory{given} ({error or 'MemoryError'}): give the job more."
            labels = replace(labels, failures={**labels.failures, row: message})
        else:
            labels.energies[row] = evaluation.energy
            if evaluation.forces is not None:
                labels.forces[labels.offsets[row] : labels.offsets[row + 1]] = evaluation.forces
        report(n_done, len(fragments))
        on_fragment(labels)
    return labels
