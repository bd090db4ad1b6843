"""Progress reporting and interruption callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["Observe", "Report", "ShouldStop", "Warn", "ignore", "never", "silent", "unheard"]

Report = Callable[[int, int], None]
"""``report(done, total)``; called often, so it must be cheap."""

Observe = Callable[[Mapping[str, float]], None]
"""Called with current quantities under field names with units, such as ``temperature_K``; must be cheap."""

ShouldStop = Callable[[], bool]
"""Called between steps; True makes resumable work return with a checkpoint."""

Warn = Callable[[str], None]
"""Called with what the user should know about the result, and which setting changes it."""


def silent(done: int, total: int) -> None:
    """Report nothing."""


def never() -> bool:
    """Never stop early."""
    return False


def ignore(values: Mapping[str, float]) -> None:
    """Observe nothing."""


def unheard(message: str) -> None:
    """Warn nobody."""
