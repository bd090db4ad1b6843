"""Commands are called in this process, in the session's profile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

Call = Callable[..., Result]


@pytest.fixture(scope="session", autouse=True)
def _loaded(profile):
    """The profile of tests/conftest.py."""


@pytest.fixture
def call() -> Call:
    """``call("show", "12")``: the result of ``aiida-mbetrain show 12``."""
    from aiida_mbetrain.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def succeed(call: Call) -> Callable[..., str]:
    """The output of a command that must not fail."""

    def run(*arguments: object) -> str:
        result = call(*arguments)
        assert result.exit_code == 0, f"{arguments}: {result.output} {result.exception!r}"
        return result.output

    return run


@pytest.fixture
def fail(call: Call) -> Callable[..., str]:
    """The one line that a command with a foreseeable mistake says: exit code 1, ``Error: ...``, no traceback."""

    def run(*arguments: object) -> str:
        result = call(*arguments)
        assert result.exit_code == 1, f"{arguments}: {result.exit_code} {result.output} {result.exception!r}"
        assert isinstance(result.exception, SystemExit), repr(result.exception)
        lines = result.output.strip().splitlines()
        assert len(lines) == 1, result.output
        assert lines[0].startswith("Error: ")
        return lines[0]

    return run
