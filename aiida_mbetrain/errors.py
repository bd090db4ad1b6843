"""Foreseeable errors: one class each, with a status word, an exit code and a message.

A message names the field, the value and the remedy.

The same error is one line on the command line, an ``ExitCode`` of a calcfunction and the ``status`` of a
worker's results.  Ranges of codes: 200-249 input refused, 303-339 files missing or unreadable, 340-399 run
unusable, 400-449 recoverable, 450-499 physics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar


class MbetrainError(Exception):
    """Base of every foreseeable error.

    :cvar status: word that names the error in results and reports.
    :cvar code: exit code of the AiiDA process that meets the error.
    :ivar results: what was made before the error and is worth keeping, by the names of the outputs.
    """

    status: ClassVar[str] = "error"
    code: ClassVar[int] = 200

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.results: Mapping[str, object] = {}

    @property
    def message(self) -> str:
        """The message: the field, its value, and the remedy."""
        return str(self)


class InvalidSettings(MbetrainError):
    """A setting is unknown, of the wrong kind, or contradicts another."""

    status, code = "invalid_settings", 201


class ElementsNotInModel(MbetrainError):
    """The structure contains elements that the model was not trained for."""

    status, code = "elements_not_in_model", 202


class InvalidStructure(MbetrainError):
    """No cell, overlapping atoms, not periodic, or no atoms at all."""

    status, code = "invalid_structure", 203


class InfiniteNetwork(MbetrainError):
    """Bonds connect an atom with its own periodic image: a chain, a layer, a framework."""

    status, code = "infinite_network", 204


class UnequalMolecules(MbetrainError):
    """assert_identical_composition is set and the molecules differ."""

    status, code = "unequal_molecules", 205


class SupercellTooLarge(MbetrainError):
    """The supercell exceeds the limit on the number of atoms."""

    status, code = "supercell_too_large", 206


class IncommensurateMesh(MbetrainError):
    """The q-point mesh does not fit into the supercell of the force constants."""

    status, code = "incommensurate_mesh", 207


class NoModesSelected(MbetrainError):
    """No phonon mode passes the filter."""

    status, code = "no_modes_selected", 208


class SelectedModesOutOfRange(MbetrainError):
    """selected_modes names a mode that the crystal does not have."""

    status, code = "selected_modes_out_of_range", 209


class NotEnoughMolecules(MbetrainError):
    """The filter asks for clusters that cannot be built from this crystal."""

    status, code = "not_enough_molecules", 210


class UnknownCalculator(MbetrainError):
    """The named calculator is not in the list of allowed ones, or its package is missing."""

    status, code = "unknown_calculator", 211


class DeviceNotAvailable(MbetrainError):
    """The requested compute device does not exist on this machine."""

    status, code = "device_not_available", 212


class NotEnoughFrames(MbetrainError):
    """More distinct frames are requested than available."""

    status, code = "not_enough_frames", 213


class FeaturesMissing(MbetrainError):
    """Frames have no feature vectors, or vectors of another length than the others."""

    status, code = "features_missing", 214


class InvalidCampaign(MbetrainError):
    """A campaign file, or some of its crystals, cannot be computed; ``refusals`` lists all that is wrong."""

    status, code = "invalid_campaign", 215

    def __init__(self, refusals: Sequence[str]) -> None:
        super().__init__("\n".join(refusals))
        self.refusals = tuple(refusals)


class LabelsMissing(MbetrainError):
    """Fragments or clusters have no reference labels of the method asked for."""

    status, code = "labels_missing", 216


class NotAModel(MbetrainError):
    """The file is not a MACE model."""

    status, code = "not_a_model", 303


class ModelHashMismatch(MbetrainError):
    """The model file's sha256 is not the registered one."""

    status, code = "model_hash_mismatch", 304


class UnreadableFile(MbetrainError):
    """A structure, dataset or checkpoint file is missing, damaged or of a foreign format."""

    status, code = "unreadable_file", 305


class UnwritableOutput(MbetrainError):
    """The output path cannot be written."""

    status, code = "unwritable_output", 306


class NoResults(MbetrainError):
    """A job ended without results: it was killed, its node failed, or the worker could not start."""

    status, code = "no_results", 310


class UnreadableResults(MbetrainError):
    """The results of a job, or one of its output files, are missing, damaged or of a foreign format."""

    status, code = "unreadable_results", 311


class UnexpectedError(MbetrainError):
    """The worker met an unforeseen error; its traceback is in the standard error of the job."""

    status, code = "unexpected", 340


class StoppedEarly(MbetrainError):
    """A job stopped before its walltime, or when it was told to; it can be continued from its checkpoint."""

    status, code = "stopped", 400


class OutOfMemory(MbetrainError):
    """A single configuration does not fit into the device's memory."""

    status, code = "out_of_memory", 410


class DiskFull(MbetrainError):
    """A checkpoint or result did not fit on the disk, or exceeded a quota; the last good checkpoint is kept."""

    status, code = "disk_full", 411


class NoProgress(MbetrainError):
    """Several jobs in a row were interrupted without any progress."""

    status, code = "no_progress", 420


class JobCancelled(MbetrainError):
    """A job was cancelled in the queue of the scheduler, by its user or an administrator."""

    status, code = "job_cancelled", 421


class WalltimeTooShort(MbetrainError):
    """The walltime of a job was over before its program had started up."""

    status, code = "walltime_too_short", 422


class UnstableDynamics(MbetrainError):
    """Temperature, volume or a force left its window during molecular dynamics."""

    status, code = "unstable_dynamics", 450


class RelaxationNotConverged(MbetrainError):
    """Primary and fallback algorithm both stopped above max_force_on_atom."""

    status, code = "relaxation_not_converged", 451


class BrokenMolecules(MbetrainError):
    """Molecules changed their bond graph and the settings refuse such frames, or no frame is left."""

    status, code = "broken_molecules", 452


class BrokenSymmetry(MbetrainError):
    """The structure lost the symmetry that the settings ask to keep."""

    status, code = "broken_symmetry", 453


class NotEnoughVolumes(MbetrainError):
    """Too few volumes are left for an equation of state."""

    status, code = "not_enough_volumes", 454


class NoEquilibriumVolume(MbetrainError):
    """The free energy has no minimum within the sampled volumes."""

    status, code = "no_equilibrium_volume", 455


class ReferenceCalculationFailed(MbetrainError):
    """A program of quantum chemistry gave no energy: it did not converge, or stopped with a message of its own."""

    status, code = "reference_calculation_failed", 456


class TrainingDiverged(MbetrainError):
    """The loss of a training became infinite, or far larger than at its beginning."""

    status, code = "training_diverged", 457


class TrainingFailed(MbetrainError):
    """mace_run_train stopped with an error of its own."""

    status, code = "training_failed", 458
