"""Files of arrays and of structures.

Arrays are kept in npz files, written under a temporary name and renamed, never pickled.  What grows while a job runs is
appended to a file of segments, of which a kill loses at most the last.  Structures are read by ASE, whose errors become
one named error.
"""

from aiida_mbetrain.science.io.full_disk import naming_full_disk
from aiida_mbetrain.science.io.npz import array_to_text, load_npz, npz_bytes, save_npz, text_to_array
from aiida_mbetrain.science.io.segment_file import SegmentFile
from aiida_mbetrain.science.io.structure_files import read_frames

__all__ = [
    "SegmentFile",
    "array_to_text",
    "load_npz",
    "naming_full_disk",
    "npz_bytes",
    "read_frames",
    "save_npz",
    "text_to_array",
]
