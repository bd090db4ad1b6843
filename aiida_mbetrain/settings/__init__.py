"""Settings of every stage, with units in the names of their fields.

Class and field names, units and defaults follow the mbe-automation training-set workflow, so that its input
files carry over.  Inputs that are nodes in AiiDA (the crystal, the model, the force constants) are not settings.
All models are frozen, refuse unknown fields with the nearest known name, take numpy arrays and lists alike,
and survive ``Class(**settings.to_dict())`` without loss, also through a stored AiiDA ``Dict``.
"""

from aiida_mbetrain.settings.active_learning import ActiveLearning, Criterion
from aiida_mbetrain.settings.base import (
    Count,
    Finite,
    Floats,
    JsonObject,
    Positive,
    Seed,
    Settings,
    shown,
    to_stored_precision,
)
from aiida_mbetrain.settings.clusters import DISTANCE_RULES, NUMBER_RULES, FiniteSubsystemFilter
from aiida_mbetrain.settings.free_energy import FreeEnergy
from aiida_mbetrain.settings.inference import FeaturesDtype, Inference, NamedCalculator
from aiida_mbetrain.settings.molecular_dynamics import ClassicalMD, MDReplicas, MDSampling, Replica
from aiida_mbetrain.settings.phonon_sampling import PhononFilter, PhononSampling
from aiida_mbetrain.settings.reference_labels import (
    IN_PROCESS,
    AseMethod,
    Counterpoise,
    ExternalMethod,
    Method,
    OrcaMethod,
    PyscfMethod,
    ReferenceLabels,
    TbliteMethod,
    method_of_name,
)
from aiida_mbetrain.settings.subsampling import Subsampling
from aiida_mbetrain.settings.training import Training, TrainingFrames
from aiida_mbetrain.settings.yaml_files import read_mapping, require_plain

__all__ = [
    "DISTANCE_RULES",
    "IN_PROCESS",
    "NUMBER_RULES",
    "ActiveLearning",
    "AseMethod",
    "ClassicalMD",
    "Count",
    "Counterpoise",
    "Criterion",
    "ExternalMethod",
    "FeaturesDtype",
    "Finite",
    "FiniteSubsystemFilter",
    "Floats",
    "FreeEnergy",
    "Inference",
    "JsonObject",
    "MDReplicas",
    "MDSampling",
    "Method",
    "NamedCalculator",
    "OrcaMethod",
    "PhononFilter",
    "PhononSampling",
    "Positive",
    "PyscfMethod",
    "ReferenceLabels",
    "Replica",
    "Seed",
    "Settings",
    "Subsampling",
    "TbliteMethod",
    "Training",
    "TrainingFrames",
    "method_of_name",
    "read_mapping",
    "require_plain",
    "shown",
    "to_stored_precision",
]
