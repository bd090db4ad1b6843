"""Calculations by programs that are run elsewhere: a folder of inputs, one per fragment, and its outputs read back.

ORCA has inputs of its own and outputs that cclib reads; any other program takes and gives QCSchema, or gives a table.
"""

from aiida_mbetrain.science.reference_labels.elsewhere.folder import (
    SETTINGS_FILE,
    FolderStatus,
    folder_settings,
    folder_status,
    output_files,
    read_outputs,
    write_inputs,
)

__all__ = [
    "SETTINGS_FILE",
    "FolderStatus",
    "folder_settings",
    "folder_status",
    "output_files",
    "read_outputs",
    "write_inputs",
]
