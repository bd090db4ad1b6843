"""Tuning of glibc's allocator to keep large tensors on the heap."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h
TOP_PAD_BYTES = 2**28


@cache
def tune_malloc() -> bool:
    """Stop glibc from mapping and unmapping memory for every large tensor; return True if that was possible.

    By default each large tensor costs page faults, up to half of the CPU time of a MACE evaluation.  Changes
    no number; costs 10 to 60 % more resident memory.  Acts on the whole process, once, and lasts.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, TOP_PAD_BYTES))
    return all([mallopt(option, value) == 1 for option, value in wanted])
