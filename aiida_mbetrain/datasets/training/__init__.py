"""Files for trainers: frames, leak-free splits, isolated-atom energies, extended xyz, imported labels."""

from aiida_mbetrain.datasets.training.external_labels import (
    ExternalLabels,
    Label,
    read_labels,
    target_minus_baseline,
    with_labels,
)
from aiida_mbetrain.datasets.training.extxyz import Export, write_training_files, write_unlabelled
from aiida_mbetrain.datasets.training.frames import (
    SOURCES,
    Entry,
    Lineage,
    check_sources,
    entries_of,
    frame_uids,
    select_sections,
)
from aiida_mbetrain.datasets.training.labelled_frames import labelled_frames, split_of
from aiida_mbetrain.datasets.training.reference_energies import (
    delta_e0s,
    elements_of,
    fit_e0s,
    isolated_atom_energies,
    read_e0s,
    require_elements,
    undetermined,
)
from aiida_mbetrain.datasets.training.reference_targets import fit_shifts, with_reference
from aiida_mbetrain.datasets.training.splits import SUBSETS, HoldOut, Split, split_entries, subset_of_units
from aiida_mbetrain.datasets.training.subset import picked_entries

__all__ = [
    "SOURCES",
    "SUBSETS",
    "Entry",
    "Export",
    "ExternalLabels",
    "HoldOut",
    "Label",
    "Lineage",
    "Split",
    "check_sources",
    "delta_e0s",
    "elements_of",
    "entries_of",
    "fit_e0s",
    "fit_shifts",
    "frame_uids",
    "isolated_atom_energies",
    "labelled_frames",
    "picked_entries",
    "read_e0s",
    "read_labels",
    "require_elements",
    "select_sections",
    "split_entries",
    "split_of",
    "subset_of_units",
    "target_minus_baseline",
    "undetermined",
    "with_labels",
    "with_reference",
    "write_training_files",
    "write_unlabelled",
]
