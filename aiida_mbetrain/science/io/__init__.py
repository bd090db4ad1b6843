"""Files of arrays and of structures.

Arrays are kept in npz files, written under a temporary name and renamed, never pickled.  Structures are read by ASE,
whose errors become one named error.
"""

from aiida_mbetrain.science.io.npz import array_to_text, load_npz, save_npz, text_to_array
from aiida_mbetrain.science.io.structure_files import read_frames

__all__ = ["array_to_text", "load_npz", "read_frames", "save_npz", "text_to_array"]
