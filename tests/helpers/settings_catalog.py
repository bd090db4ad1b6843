"""Every settings class and field, and which part of the program shows what a field does."""

from __future__ import annotations

from aiida_mbetrain import settings
from aiida_mbetrain.settings import Settings

CLASSES: tuple[type[Settings], ...] = (
    settings.Inference,
    settings.ClassicalMD,
    settings.FiniteSubsystemFilter,
    settings.MDSampling,
    settings.Replica,
    settings.MDReplicas,
    settings.PhononFilter,
    settings.PhononSampling,
    settings.FreeEnergy,
    settings.Subsampling,
    settings.NamedCalculator,
)

REFERENCE: tuple[type[Settings], ...] = (
    settings.AseMethod,
    settings.ExternalMethod,
    settings.Method,
    settings.OrcaMethod,
    settings.PyscfMethod,
    settings.ReferenceLabels,
    settings.TbliteMethod,
)
"""Methods of quantum chemistry and what they are applied to; tested with the programs."""

TRAINING: tuple[type[Settings], ...] = (settings.ActiveLearning, settings.Training, settings.TrainingFrames)
"""Of delta models; tested with their training and rounds."""

FIELDS = [f"{cls.__name__}.{field}" for cls in CLASSES for field in cls.model_fields]

IN_WORKFLOWS = frozenset(
    {
        "MDSampling.finite_subsystem_filter",
        "PhononSampling.finite_subsystem_filter",
        "MDSampling.relax_first",
        "MDSampling.root_key",
        "PhononSampling.root_key",
        "PhononSampling.force_constants_key",
        "FreeEnergy.root_key",
        "FreeEnergy.sublimation",
        "FreeEnergy.thermal_expansion",
        "FreeEnergy.volume_range",
        "FreeEnergy.pressure_range",
        "FreeEnergy.eos_sampling",
    }
)
"""Fields whose effect the science functions do not see: the tests of the WorkChains show it."""
