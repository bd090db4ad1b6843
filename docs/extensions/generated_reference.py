"""Directives whose text is made from the code at build time, so that the reference cannot fall behind it.

``{settings}`` every settings class | ``{campaign-file}`` | ``{rounds-file}`` | ``{protocols}`` | ``{exit-codes}`` |
``{commands}`` | ``{processes}`` WorkChains with their ports | ``{node-types}`` | ``{steps}`` calculation plugins |
``{hdf5-names}`` names in the file
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Lt
from docutils import nodes
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

AIIDAS_OWN = (
    "metadata",
    "monitors",
    "clean_workdir",
    "handler_overrides",
    "max_iterations",
    "on_unhandled_failure",
    "pause_on_max_iterations",
)
"""Ports that every process or restart WorkChain of AiiDA has; its own documentation has them."""


def table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; a bar inside a cell would end it."""
    lines = [header, ("---",) * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


# Settings


def settings_classes() -> dict[str, type]:
    """Settings classes by name that a user may import; the worker's own are not among them."""
    from aiida_mbetrain import settings

    public = {name: getattr(settings, name) for name in settings.__all__}
    return {
        name: value
        for name, value in public.items()
        if isinstance(value, type) and issubclass(value, settings.Settings) and value is not settings.Settings
    }


def settings_text() -> str:
    """A section per settings class."""
    return "\n".join(f"## {name}\n\n{class_text(cls)}" for name, cls in settings_classes().items())


def campaign_file_text() -> str:
    """The classes of the campaign file."""
    from aiida_mbetrain.campaigns.settings import CampaignSettings, CrystalEntry

    return "\n".join(f"## {cls.__name__}\n\n{class_text(cls)}" for cls in (CampaignSettings, CrystalEntry))


def rounds_file_text() -> str:
    """The class of the file of ``improve``, whose parts are on the page of the settings."""
    from aiida_mbetrain.rounds.settings import RoundsSettings

    return f"## {RoundsSettings.__name__}\n\n{class_text(RoundsSettings)}".replace("](#", "](settings.md#")


def class_text(cls: Any) -> str:
    """Docstring and table of fields of a settings class."""
    rows = (
        (f"`{field}`", type_text(info), default_text(info), info.description or "") for field, info in fields_of(cls)
    )
    return f"{cls.__doc__}\n\n" + table(("field", "type", "default", "meaning"), rows)


def fields_of(cls: Any) -> Iterator[tuple[str, FieldInfo]]:
    return iter(cls.model_fields.items())


def type_text(info: FieldInfo) -> str:
    """The type of a field as a user would say it, with its bounds."""
    text = annotation_text(info.annotation)
    bounds = [bound_text(item) for item in info.metadata if isinstance(item, Gt | Ge | Lt)]
    return " ".join([text, *bounds])


def bound_text(bound: Gt | Ge | Lt) -> str:
    if isinstance(bound, Gt):
        return f"> {bound.gt}"
    return f"≥ {bound.ge}" if isinstance(bound, Ge) else f"< {bound.lt}"


PLAIN = {bool: "`True` or `False`", int: "integer", float: "number", str: "text", Any: "see the meaning"}


def annotation_text(annotation: Any) -> str:
    """Text of a type annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = [m for item in arguments[1:] for m in getattr(item, "metadata", [item])]
        shown = [bound_text(item) for item in bounds if isinstance(item, Gt | Ge | Lt)]
        return " ".join([annotation_text(arguments[0]), *shown])
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(annotation_text(item) for item in arguments)
    if annotation is type(None):
        return "`None`"
    if origin is tuple:
        return tuple_text(arguments)
    if origin is dict:
        return "mapping"
    return PLAIN.get(annotation) or f"[`{annotation.__name__}`](#{annotation.__name__.lower()})"


def tuple_text(arguments: tuple[Any, ...]) -> str:
    if arguments[-1] is Ellipsis:
        return f"{annotation_text(arguments[0])}s, one or more"
    first = annotation_text(arguments[0])
    return f"{len(arguments)} × {first}" if len(set(arguments)) == 1 else ", ".join(map(annotation_text, arguments))


def default_text(info: FieldInfo) -> str:
    from aiida_mbetrain.settings import Settings

    if info.is_required():
        return "required"
    value = info.default
    if not isinstance(value, Settings):
        return f"`{value!r}`"
    given = {name: getattr(value, name) for name in sorted(value.model_fields_set)}
    inside = ", ".join(f"{name}={item!r}" for name, item in given.items())
    return f"`{type(value).__name__}({inside})`"


def protocols_text() -> str:
    """Values set by each protocol; an empty cell is the default of the settings class."""
    from aiida_mbetrain.workflows import protocols

    names = list(protocols.protocols())
    flat = {name: dict(flatten(protocols._file()["protocols"][name])) for name in names}
    keys = dict.fromkeys(key for name in names for key in flat[name] if key != "description")
    rows = ((f"`{key}`", *(f"`{flat[name][key]}`" if key in flat[name] else "" for name in names)) for key in keys)
    default = protocols.default_protocol()
    described = "".join(
        f"`{name}`{' (the default)' if name == default else ''}\n: {text}\n\n"
        for name, text in protocols.protocols().items()
    )
    return described + table(("setting", *names), rows)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# Exit codes


def exit_codes_text() -> str:
    """Every named error, and the failure of a child."""
    from aiida_mbetrain.workflows.base import CHILD_FAILED, foreseeable_errors

    rows = [(str(e.code), f"`{e.status}`", " ".join(str(e.__doc__).split())) for e in foreseeable_errors()]
    rows.append((str(CHILD_FAILED), "`child_failed`", "A step ended in a way that has no name of its own."))
    return table(("code", "status", "meaning"), iter(rows))


# Command line


def commands_text() -> str:
    """A section per command, subcommands in place of their groups."""
    from aiida_mbetrain.cli import main

    names = list(command_names(main))
    return "\n".join(f"## {name}\n\n{command_text(*find_command(name.split()))}" for name in names)


def command_names(group: click.Group, prefix: str = "") -> Iterator[str]:
    """Names of all commands with those of their groups before them, in the order of use."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from command_names(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def command_text(command: click.Command, context: click.Context) -> str:
    """Usage, help and options of a command."""
    usage = command.get_usage(context).removeprefix("Usage: ")
    text = "\n\n".join(" ".join(part.split()) for part in str(command.help).split("\n\n"))
    rows = [
        (", ".join(f"`{name}`" for name in option.opts) + value_of(option, context), option.help or "")
        for option in command.params
        if isinstance(option, click.Option)
    ]
    options = table(("option", "meaning"), iter(rows)) if rows else ""
    return f"```text\n{usage}\n```\n\n{text}\n\n{options}"


def value_of(option: click.Option, context: click.Context) -> str:
    if option.is_flag:
        return ""
    default = f", default `{option.default}`" if isinstance(option.default, str | int | float) else ""
    return f" {option.make_metavar(context)}{default}{' (required)' if option.required else ''}"


def find_command(path: list[str]) -> tuple[click.Command, click.Context]:
    """The command of a path of names, with the context that its usage line needs."""
    from aiida_mbetrain.cli import main

    command: click.Command = main
    context = click.Context(main, info_name="aiida-mbetrain")
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command, context


# AiiDA


def processes_text() -> str:
    """A section per WorkChain: those of the stages with their ports, the restart WorkChains of jobs after them."""
    chains = [(point.name, process) for point, process in loaded("aiida.workflows")]
    return "\n".join(f"## {name}\n\n{ports_text(process)}" for name, process in sorted(chains, key=_stages_first))


def _stages_first(item: tuple[str, Any]) -> tuple[bool, bool, str]:
    name, process = item
    return "Job" in process.__name__, name != "mbetrain.training_set", name


def ports_text(process: Any) -> str:
    """Inputs and outputs of a process."""
    spec = process.spec()
    header = ("port", "type", "required", "meaning")
    return (
        f"`{process.__name__}`: {' '.join(str(process.__doc__).split())}\n\n"
        f"**Inputs**\n\n{table(header, ports(spec.inputs))}\n**Outputs**\n\n{table(header, ports(spec.outputs))}"
    )


def ports(namespace: Any, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """One row per port, namespaces flattened."""
    from aiida.engine.processes.ports import PortNamespace

    for name, port in sorted(namespace.items()):
        if name in AIIDAS_OWN:
            continue
        if isinstance(port, PortNamespace) and (port or not port.dynamic):
            yield from ports(port, f"{prefix}{name}.")
        else:
            star = ".*" if isinstance(port, PortNamespace) else ""
            kinds = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
            shown = ", ".join(f"`{kind.__name__}`" for kind in kinds if kind not in (None, type(None)))
            meaning = " ".join(str(port.help or "").split())
            yield f"`{prefix}{name}{star}`", shown, "yes" if port.required else "no", meaning


def node_types_text() -> str:
    """The data plugins."""
    rows = (
        (f"`{point.name}`", f"`{cls.__name__}`", f"`{cls.__mro__[1].__name__}`", " ".join(str(cls.__doc__).split()))
        for point, cls in loaded("aiida.data")
    )
    return table(("entry point", "class", "base", "holds"), rows)


def steps_text() -> str:
    """The calculation plugins: calcfunctions and jobs."""
    rows = ((f"`{point.name}`", first_sentence(step.__doc__)) for point, step in loaded("aiida.calculations"))
    return table(("entry point", "does"), rows)


def first_sentence(text: str | None) -> str:
    first = " ".join(str(text).strip().split("\n\n")[0].split())
    return first.split(" Outputs:")[0]


def loaded(group: str) -> list[tuple[Any, Any]]:
    """Entry points of this package with what they load, by name."""
    points = (point for point in entry_points(group=group) if point.value.startswith("aiida_mbetrain."))
    return [(point, point.load()) for point in sorted(points, key=lambda point: point.name)]


# Dataset


def hdf5_names_text() -> str:
    """Every name of the file, with the code points of characters beyond ASCII."""
    rows = (
        (f"`{name}`", f"`{constant}`", ", ".join(dict.fromkeys(f"U+{ord(c):04X}" for c in name if ord(c) > 127)))
        for name, constant in sorted(hdf5_names().items())
    )
    return table(("name", "in `names`", "characters beyond ASCII"), rows)


def hdf5_names() -> dict[str, str]:
    """Names in the file with the constant that holds each; single characters are parts of names."""
    from aiida_mbetrain.datasets import names

    found: dict[str, str] = {}
    for constant, value in vars(names).items():
        if not constant.isupper():
            continue
        if isinstance(value, Mapping):
            # The values are names, or pairs of a name and whether it is per atom.
            inside = [item[0] if isinstance(item, tuple) else item for item in value.values()]
            found = dict.fromkeys(inside, constant) | found
        elif len(value) > 1:
            found[value] = constant
    return found


class Generated(SphinxDirective):
    """Replaced by the Markdown that a function gives."""

    text: Callable[[], str]

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(type(self).text(), allow_section_headings=True)


TEXTS: dict[str, Callable[[], str]] = {
    "settings": settings_text,
    "campaign-file": campaign_file_text,
    "rounds-file": rounds_file_text,
    "protocols": protocols_text,
    "exit-codes": exit_codes_text,
    "commands": commands_text,
    "processes": processes_text,
    "node-types": node_types_text,
    "steps": steps_text,
    "hdf5-names": hdf5_names_text,
}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    for name, text in TEXTS.items():
        app.add_directive(name, type(f"Generated_{name}", (Generated,), {"text": staticmethod(text)}))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
