"""The form of a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict


class VerdictFacts(TypedDict):
    """A verdict as plain values, for JSON."""

    name: str
    passed: bool
    value: str
    advice: str
    section: str


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

    def facts(self) -> VerdictFacts:
        """The fields in plain Python types; a verdict that has passed gives no advice."""
        passed = bool(self.passed)
        return {
            "name": self.name,
            "passed": passed,
            "value": self.value,
            "advice": "" if passed else self.advice,
            "section": self.section,
        }
