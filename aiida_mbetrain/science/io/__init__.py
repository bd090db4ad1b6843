"""Files of arrays and of structures.

Arrays are kept in npz files, written under a temporary name and renamed, never pickled.  Large ones are mapped into
memory, not read.  What grows while a job runs is appended to a file of segments, of which a kill loses at most the
last.  Structures are read by ASE, whose errors become one named error.
"""

from aiida_mbetrain.science.io.full_disk import naming_full_disk
from aiida_mbetrain.science.io.growing_array import LARGE_BYTES, GrowingArray, join_rows
from aiida_mbetrain.science.io.mapped_arrays import read_npy
from aiida_mbetrain.science.io.npz import array_to_text, load_npz, npz_bytes, save_npz, text_to_array
from aiida_mbetrain.science.io.segment_file import SegmentFile
from aiida_mbetrain.science.io.structure_files import read_frames

__all__ = [
    "LARGE_BYTES",
    "GrowingArray",
    "SegmentFile",
    "array_to_text",
    "join_rows",
    "load_npz",
    "naming_full_disk",
    "npz_bytes",
    "read_frames",
    "read_npy",
    "save_npz",
    "text_to_array",
]
