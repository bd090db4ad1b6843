"""Choice of clusters that are worth a label: uncertainty of energies, its calibration, and a greedy choice by cost.

The uncertainty is that of the closed-form ridge model of the baseline's features.  It is known before a label is, so
that a whole round of clusters is chosen at once, each in view of those chosen before it.
"""

from aiida_mbetrain.science.active_learning.candidates import (
    SUBSET,
    UNIT,
    Candidates,
    ChosenClusters,
    choose_clusters,
    uncertainty_of,
)
from aiida_mbetrain.science.active_learning.greedy_choice import Choice, choose_greedily
from aiida_mbetrain.science.active_learning.judgement import judge_round
from aiida_mbetrain.science.active_learning.uncertainty import FeatureUncertainty

__all__ = [
    "SUBSET",
    "UNIT",
    "Candidates",
    "Choice",
    "ChosenClusters",
    "FeatureUncertainty",
    "choose_clusters",
    "choose_greedily",
    "judge_round",
    "uncertainty_of",
]
