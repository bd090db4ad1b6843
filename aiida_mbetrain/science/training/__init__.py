"""Training: labelled frames in, a MACE model of reference minus baseline or of the reference out.

Shifts are fitted on the training split, the targets are written for ``mace_run_train``, which runs in a process of its
own and is continued from its checkpoints, and the shifts become the energies of isolated atoms of the model.  A model
is judged on held-out frames, beside the baseline, a constant and a closed-form ridge model of the features.
"""

from aiida_mbetrain.science.training.cluster_frames import LabelledClusters, frames_of_clusters
from aiida_mbetrain.science.training.evaluation import (
    MODELS,
    TRAINED,
    Evaluation,
    Predictions,
    error_table,
    evaluate_trained,
)
from aiida_mbetrain.science.training.frames import SUBSETS, TEST, TRAIN, VALID, LabelledFrames
from aiida_mbetrain.science.training.grouping import CONTACT_EDGES_A, closest_contacts, part_of_training_set
from aiida_mbetrain.science.training.heads import OTHERS, REFERENCE, require_joint
from aiida_mbetrain.science.training.mace_fields import mace_fields
from aiida_mbetrain.science.training.model_file import ModelFile, StoredFile
from aiida_mbetrain.science.training.replay import ReplayFile, configurations_of_file
from aiida_mbetrain.science.training.ridge import RidgeModel, fit_ridge
from aiida_mbetrain.science.training.run import MaceTraining, TrainingState
from aiida_mbetrain.science.training.shifts import fit_shifts, shifted_targets
from aiida_mbetrain.science.training.train import TrainedModel, require_trainable, train_model

__all__ = [
    "CONTACT_EDGES_A",
    "MODELS",
    "OTHERS",
    "REFERENCE",
    "SUBSETS",
    "TEST",
    "TRAIN",
    "TRAINED",
    "VALID",
    "Evaluation",
    "LabelledClusters",
    "LabelledFrames",
    "MaceTraining",
    "ModelFile",
    "Predictions",
    "ReplayFile",
    "RidgeModel",
    "StoredFile",
    "TrainedModel",
    "TrainingState",
    "closest_contacts",
    "configurations_of_file",
    "error_table",
    "evaluate_trained",
    "fit_ridge",
    "fit_shifts",
    "frames_of_clusters",
    "mace_fields",
    "part_of_training_set",
    "require_joint",
    "require_trainable",
    "shifted_targets",
    "train_model",
]
