"""Every refusal of a campaign, collected before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiida_mbetrain.errors import InvalidCampaign, MbetrainError


class Refusals:
    """List of refusals, each with the part of the campaign it is about.

    >>> refusals = Refusals()
    >>> with refusals.about("urea"):
    ...     raise MbetrainError("The cell has no volume.")
    >>> refusals.lines
    ['urea: The cell has no volume.']
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, about: str, message: str) -> None:
        """Add a refusal; the same one is kept once."""
        line = f"{about}: {message}"
        if line not in self.lines:
            self.lines.append(line)

    @contextmanager
    def about(self, about: str) -> Iterator[None]:
        """Collect what the block refuses, and go on after it."""
        try:
            yield
        except InvalidCampaign as error:
            self.lines += [line for line in error.refusals if line not in self.lines]
        except MbetrainError as error:
            self.add(about, error.message)

    def raise_if_any(self) -> None:
        """Raise InvalidCampaign with all refusals."""
        if self.lines:
            raise InvalidCampaign(self.lines)
