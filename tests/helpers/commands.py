"""Commands as a user types them."""

from __future__ import annotations

from click.testing import CliRunner

from aiida_mbetrain.cli import main


def call(*arguments: object, code: int = 0) -> str:
    """Output of a command; a refusal must be one line and no traceback."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    if code:
        assert isinstance(result.exception, SystemExit)
    return result.output


def one_line(*arguments: object) -> str:
    output = call(*arguments, code=1)
    assert output.startswith("Error: ")
    assert len(output.strip().splitlines()) == 1
    return output
