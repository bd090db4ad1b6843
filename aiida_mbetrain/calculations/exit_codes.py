"""The exit codes of every process: the named errors, once."""

from __future__ import annotations

from collections.abc import Iterator

from aiida.engine import ExitCode, ProcessSpec

from aiida_mbetrain.errors import DeviceNotAvailable, MbetrainError


def foreseeable_errors() -> Iterator[type[MbetrainError]]:
    """Every named error, by exit code."""
    return iter(sorted(MbetrainError.__subclasses__(), key=lambda error: error.code))


def invalidates_cache(error: type[MbetrainError]) -> bool:
    """Return True where another try may end differently: files, machines, interruptions; not input or physics."""
    return 300 <= error.code < 450 or error is DeviceNotAvailable


def define_exit_codes(spec: ProcessSpec) -> None:
    """Declare ``ERROR_<STATUS>`` for every named error."""
    for error in foreseeable_errors():
        spec.exit_code(
            error.code,
            f"ERROR_{error.status.upper()}",
            message=str(error.__doc__),
            invalidates_cache=invalidates_cache(error),
        )


def exit_code_of_status(status: str, message: str) -> ExitCode:
    """The exit code of a status word in a worker's results; raises KeyError for an unknown one."""
    error = {error.status: error for error in foreseeable_errors()}[status]
    return ExitCode(error.code, message, invalidates_cache(error))


def exit_code_of(error: MbetrainError) -> ExitCode:
    """The exit code of a named error."""
    return ExitCode(error.code, error.message, invalidates_cache(type(error)))
