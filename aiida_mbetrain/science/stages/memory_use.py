"""Memory taken by a call, as counted by the operating system or the CUDA device."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Growth:
    """Memory (bytes) before some work, and how much more was held at its peak.

    Of the CUDA device where the work took any there, else resident memory of this process.
    """

    before: int
    grown: int
    on_device: bool


def measured(call: Callable[[], T]) -> tuple[T, Growth | None]:
    """Result of the call, and the growth of memory meanwhile; None where the system does not report it (not Linux)."""
    torch: Any = sys.modules.get("torch")
    on_device = torch is not None and torch.cuda.is_available()
    if on_device:
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    before = _restarted_peak()
    result = call()
    if on_device and (peak := torch.cuda.max_memory_allocated()) > held:
        return result, Growth(held, peak - held, on_device=True)
    return result, None if before is None else Growth(before, max(0, _bytes("VmHWM") - before), on_device=False)


def _restarted_peak() -> int | None:
    """Resident memory now, from which Linux then counts the peak anew; None on other systems."""
    try:
        CLEAR.write_text("5")
        return _bytes("VmRSS")
    except OSError:
        return None


def _bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])
