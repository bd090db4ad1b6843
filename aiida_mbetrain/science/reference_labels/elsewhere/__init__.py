"""Calculations by programs that are run elsewhere: a folder of inputs, one per fragment, and its outputs read back.

ORCA has inputs of its own and outputs that cclib reads; any other program takes and gives QCSchema, or gives a table.
"""

from aiida_mbetrain.science.reference_labels.elsewhere.folder import (
    FolderStatus,
    folder_settings,
    folder_status,
    output_names,
    read_outputs,
    write_inputs,
)

__all__ = ["FolderStatus", "folder_settings", "folder_status", "output_names", "read_outputs", "write_inputs"]
