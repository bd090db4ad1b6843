"""Clusters of a round as candidates, and those of them that are labelled: for training, validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import FeaturesMissing, NotEnoughFrames
from aiida_mbetrain.science.active_learning.greedy_choice import choose_greedily
from aiida_mbetrain.science.active_learning.uncertainty import FeatureUncertainty
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import FloatArray, IntArray
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import (
    SUBSETS,
    TEST,
    TRAIN,
    VALID,
    LabelledFrames,
    fit_ridge,
    fit_shifts,
    shifted_targets,
)
from aiida_mbetrain.settings import ActiveLearning

SUBSET, UNIT = "subset", "unit"
"""Origins of a chosen frame: part of the split, and the unit of related frames."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """F clusters that can be labelled.

    names: of the set, (F,).  rows: within the set, (F,).  features: sums over the atoms, (F, D).  n_molecules: (F,).
    costs: of a label, (F,).  units: of related frames, (F,).  subsets: part of the split that a cluster would belong
        to, (F,), -1 for none.
    """

    names: NDArray[np.str_]
    rows: IntArray
    features: FloatArray
    n_molecules: IntArray
    costs: FloatArray
    units: IntArray
    subsets: IntArray

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(
        cls,
        sets: Mapping[str, ClusterSet],
        costs: Mapping[str, FloatArray],
        units: Mapping[str, IntArray],
        subsets: Mapping[str, IntArray],
    ) -> Candidates:
        """Of cluster sets with the baseline's features; costs, units and subsets by name, one for each frame.

        Raises FeaturesMissing.
        """
        names = sorted(sets)
        frames = {name: sets[name].configurations for name in names}
        missing = [name for name in names if frames[name].features is None]
        if missing:
            raise FeaturesMissing(
                f"{', '.join(missing)} have no feature vectors, from which the uncertainty is computed: take a MACE "
                "model as baseline, and Inference.features = 'all' or 'clusters'."
            )
        counts = [len(frames[name]) for name in names]
        return cls(
            names=np.repeat(np.array(names), counts),
            rows=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
            features=np.concatenate(
                [np.asarray(frames[name].features).sum(axis=1, dtype=np.float64) for name in names]
            ),
            n_molecules=np.repeat([sets[name].cluster.n_molecules for name in names], counts).astype(np.int64),
            costs=np.concatenate([costs[name] for name in names]),
            units=np.concatenate([units[name] for name in names]),
            subsets=np.concatenate([subsets[name] for name in names]),
        )


@dataclass(frozen=True, eq=False)
class ChosenClusters:
    """n candidates to be labelled: rows among them, part of the split, and uncertainty for α = 1, NaN if by chance."""

    rows: IntArray
    subsets: IntArray
    variances: FloatArray

    def picks(self, candidates: Candidates) -> Table:
        """A row for each, in the order of the choice."""
        return Table(
            {
                "set": candidates.names[self.rows],
                "row": candidates.rows[self.rows],
                "subset": np.array(SUBSETS)[self.subsets],
                "n_molecules": candidates.n_molecules[self.rows],
                "cost": candidates.costs[self.rows],
                "relative_variance": self.variances,
            }
        )

    def cut(self, sets: Mapping[str, ClusterSet], candidates: Candidates) -> dict[str, ClusterSet]:
        """The chosen frames of each set, in the order of the frames; sets without any are left out."""
        found = {}
        for name, item in sets.items():
            own = np.flatnonzero(candidates.names[self.rows] == name)
            own = own[np.argsort(candidates.rows[self.rows[own]])]
            if len(own):
                chosen = self.rows[own]
                kept = item.configurations.select(candidates.rows[chosen])
                origin = {**kept.origin, SUBSET: self.subsets[own], UNIT: candidates.units[chosen]}
                found[name] = replace(item, configurations=kept.with_(origin=origin))
        return found


def choose_clusters(
    candidates: Candidates, settings: ActiveLearning, *, labelled: LabelledFrames | None, number: int
) -> ChosenClusters:
    """Clusters of one round: those for training by the criterion, those held out by chance.

    labelled: frames of earlier rounds, None in the first, which alone chooses clusters for validation and test.
    Raises NotEnoughFrames.
    """
    rng = np.random.default_rng([settings.rng_seed, number])
    pool = np.flatnonzero(candidates.subsets == TRAIN)
    _require_enough("clusters_per_round", settings.clusters_per_round, len(pool), number)
    held_out: list[IntArray] = []
    if labelled is None:
        for name, count, subset in (("n_validation", settings.n_validation, VALID), ("n_test", settings.n_test, TEST)):
            rows = np.flatnonzero(candidates.subsets == subset)
            _require_enough(name, count, len(rows), number)
            held_out.append(rng.choice(rows, count, replace=False))
    uncertainty = (
        FeatureUncertainty.before_labels(candidates.features[pool], settings.clusters_per_round)
        if labelled is None
        else uncertainty_of(labelled)
    )
    choice = choose_greedily(
        uncertainty.vectors(candidates.features[pool]),
        candidates.costs[pool],
        candidates.n_molecules[pool],
        settings.clusters_per_round,
        budget=settings.cost_per_round,
        criterion=settings.criterion,
        rng=rng,
    )
    if not len(choice.rows):
        raise NotEnoughFrames(
            f"ActiveLearning.cost_per_round = {settings.cost_per_round:g} is below the cost of every candidate of "
            f"round {number}: allow more."
        )
    rows = np.concatenate([pool[choice.rows], *held_out])
    return ChosenClusters(
        rows=rows,
        subsets=candidates.subsets[rows],
        variances=np.concatenate([choice.variances, np.full(len(rows) - len(choice.rows), np.nan)]),
    )


def _require_enough(name: str, count: int, available: int, number: int) -> None:
    if count > available:
        raise NotEnoughFrames(
            f"ActiveLearning.{name} = {count}, but round {number} has {available} clusters for it: ask for fewer, or "
            "sample more frames."
        )


def uncertainty_of(frames: LabelledFrames) -> FeatureUncertainty:
    """Uncertainty of the ridge model of the training split, without calibration."""
    ridge = fit_ridge(frames, shifted_targets(frames, fit_shifts(frames)))
    return FeatureUncertainty.of_labelled(frames.features[frames.subsets == TRAIN], ridge.strength)
