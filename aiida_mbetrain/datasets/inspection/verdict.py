"""The form of a verdict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """One line on the quality of a dataset.

    value: the numbers behind it.  advice: the remedy where it has not passed.
    section: path of the section it is about; empty for the dataset as a whole.
    """

    name: str
    passed: bool
    value: str
    advice: str
    section: str = ""
