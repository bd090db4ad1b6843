"""Options and conversions shared by several commands."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from aiida_mbetrain.errors import MbetrainError, UnreadableFile

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder
    from rich.console import Console

    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.data.sum_model import SumModelData
    from aiida_mbetrain.settings import JsonObject, ReferenceLabels

P = ParamSpec("P")
T = TypeVar("T")


def with_profile(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a command to load its profile first."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        load_profile_of_command()
        return function(*args, **kwargs)

    return wrapped


def load_profile_of_command() -> None:
    """Load the profile of ``-p`` or the default one, unless verdi has already loaded one.

    Raises MbetrainError with the commands that make and list profiles where there is none.
    """
    from aiida import load_profile
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage import get_manager

    wanted = click.get_current_context().meta.get("mbetrain_profile")
    if wanted is not None or get_manager().get_profile() is None:
        try:
            load_profile(wanted, allow_switch=True)
        except ConfigurationError as error:
            missing = "There is no AiiDA profile" if wanted is None else f"The AiiDA profile {wanted} is not there"
            raise MbetrainError(
                f"{missing} ({error}): make one with `verdi presto`, or see `verdi profile list`."
            ) from error


def database_is_locked(error: Exception) -> bool:
    """Return True if SQLite refused an access because another process wrote for longer than it waits."""
    from sqlite3 import OperationalError

    cause = error.__cause__  # SQLAlchemy wraps it
    return isinstance(cause, OperationalError) and "database is locked" in str(cause)


def stopping_in_order(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a command that computes, so that Ctrl-C and SIGTERM lose nothing.

    It comes before :func:`with_profile`: libraries start threads when they are imported.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from aiida_mbetrain.calculations.functions.interruption import signals_deferred

        with signals_deferred():
            return function(*args, **kwargs)

    return wrapped


def command_of(*arguments: str) -> str:
    """A command of this program that can be typed in the same shell, for the profile of the command that runs."""
    meta = click.get_current_context().meta
    program = ["aiida-mbetrain", *(["-p", meta["mbetrain_profile"]] if meta.get("mbetrain_profile") else [])]
    place = f"AIIDA_PATH={shlex.quote(str(meta['mbetrain_place']))} " if "mbetrain_place" in meta else ""
    return place + shlex.join([*program, *arguments])


def load(identifier: str) -> orm.Node:
    """The node of a pk, uuid or label.  Raises NotExistent."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    if not identifier.strip():
        raise NotExistent("a node without pk, uuid or label: give one of them")
    return orm.load_node(identifier)


def require_finished(node: orm.ProcessNode) -> None:
    """Raise MbetrainError with exit status and message unless the process ended well."""
    if not node.is_finished_ok:
        raise MbetrainError(f"{node.process_label}<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")


def read_model(source: str) -> MaceModelData | SumModelData:
    """The node of a model file, which is registered if it is new, or of the pk or uuid of a model or sum of models."""
    from aiida.common.exceptions import NotExistent

    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.data.sum_model import SumModelData

    if Path(source).exists():
        return MaceModelData.get_or_create(source)
    try:
        node = load(source)
    except NotExistent:
        node = None
    if not isinstance(node, MaceModelData | SumModelData):
        raise UnreadableFile(f"--model {source} is neither a file nor a registered model: see `aiida-mbetrain model`.")
    return node


def read_structure(path: str) -> orm.StructureData:
    """A StructureData of anything ASE reads.  Raises UnreadableFile."""
    from aiida import orm

    from aiida_mbetrain.science.io import read_frames

    (atoms,) = read_frames(path, what="a structure as cif, xyz or POSCAR")
    return orm.StructureData(ase=atoms)


def node_of_uuid(uuid: str, profile: str | None) -> orm.Node | None:
    """The node of a uuid, or None without a profile or where the profile does not have it."""
    from aiida import load_profile, orm
    from aiida.common.exceptions import ConfigurationError, NotExistent
    from aiida.manage import get_manager

    try:
        if get_manager().get_profile() is None:
            load_profile(profile)
        return orm.load_node(uuid=uuid)
    except (ConfigurationError, NotExistent):
        return None


def read_options(path: str | None) -> JsonObject:
    """``metadata.options`` of jobs from a YAML file; none without one.  Raises UnreadableFile."""
    from aiida_mbetrain.settings import read_mapping

    return {} if path is None else read_mapping(path, "--options", "a mapping as in setup_computers/slurm-gpu")


def read_reference_settings(
    path: str | None, method: str | None, order: int | None, counterpoise: str | None
) -> ReferenceLabels:
    """Settings of a file, of which the options replace some.  Raises UnreadableFile, InvalidSettings."""
    from aiida_mbetrain.settings import ReferenceLabels, method_of_name

    values = read_options(path)
    given = {"order": order, "counterpoise": counterpoise}
    values |= {name: value for name, value in given.items() if value is not None}
    if method is not None:
        values["method"] = method_of_name(method).to_dict()
    return ReferenceLabels(**values)


def submit_as_jobs(console: Console, builder: ProcessBuilder, code: str | None, options: str | None) -> bool:
    """Submit a WorkChain of reference labels to the daemon where a code is given for its jobs, and say so.

    options: YAML file with their metadata.options.  Raises InvalidSettings for options without a code, and where no
    daemon runs.
    """
    from aiida import orm
    from aiida.engine import submit
    from aiida.engine.daemon.client import get_daemon_client

    from aiida_mbetrain.errors import InvalidSettings

    if code is None:
        if options is not None:
            raise InvalidSettings(f"--options {options} is about jobs: give --code as well.")
        return False
    builder.code = orm.load_code(code)
    builder["reference_labels"].metadata.options = read_options(options)
    if not get_daemon_client().is_daemon_running:
        raise InvalidSettings("--code submits to the daemon, which is not running; run `verdi daemon start`.")
    node = submit(builder)
    console.print(f"submitted {node.process_label}<{node.pk}>; follow it: aiida-mbetrain status {node.pk} --watch")
    return True
