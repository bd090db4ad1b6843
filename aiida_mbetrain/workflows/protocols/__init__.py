"""Named sets of settings: ``fast``, ``balanced``, ``stringent``, and ``reference``, those of mbe-automation."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, ClassVar

import yaml

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.settings import (
    FreeEnergy,
    Inference,
    JsonObject,
    MDSampling,
    PhononSampling,
    Settings,
    require_plain,
    shown,
)

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine.processes.builder import ProcessBuilder, ProcessBuilderNamespace

SECTIONS: dict[str, type[Settings]] = {
    "inference": Inference,
    "md_sampling": MDSampling,
    "quasi_harmonic": FreeEnergy,
    "phonon_sampling": PhononSampling,
}


@functools.cache
def _file() -> JsonObject:
    content: JsonObject = yaml.safe_load(resources.files(__package__).joinpath("training_set.yaml").read_text("utf-8"))
    return content


def protocols() -> dict[str, str]:
    """Names and descriptions of the protocols."""
    return {name: values["description"] for name, values in _file()["protocols"].items()}


def default_protocol() -> str:
    """The protocol taken where none is named."""
    return str(_file()["default_protocol"])


def merge(base: Mapping[str, object], overrides: Mapping[str, object]) -> JsonObject:
    """``base`` with the values of ``overrides``; mappings are merged, everything else is replaced."""
    merged: JsonObject = dict(base)
    for key, value in overrides.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(value, Mapping) and isinstance(known, Mapping) else value
    return merged


def check_overrides(overrides: Mapping[str, object]) -> None:
    """Raise InvalidSettings unless the overrides are a mapping of known sections to mappings of plain values."""
    require_plain(overrides, "overrides", "a mapping {section: {field: value}}")
    unknown = sorted(set(overrides) - set(SECTIONS))
    if unknown:
        raise InvalidSettings(f"overrides has no section {unknown[0]!r}: sections are {', '.join(SECTIONS)}.")
    for section, given in overrides.items():
        if given is not None and not isinstance(given, Mapping):
            raise InvalidSettings(f"The section {section} of the overrides is {shown(given)}: give {{field: value}}.")


def protocol_settings(
    protocol: str | None = None, overrides: Mapping[str, object] | None = None
) -> dict[str, Settings]:
    """The settings of every section by a protocol, with overrides ``{section: {field: value}}``.

    Raises InvalidSettings for an unknown protocol or section, and for what a settings class refuses.
    """
    name = protocol or default_protocol()
    if name not in protocols():
        raise InvalidSettings(f"There is no protocol {name!r}: take one of {', '.join(protocols())}.")
    check_overrides(overrides or {})
    chosen = {key: value for key, value in _file()["protocols"][name].items() if key != "description"}
    values = merge(chosen, overrides or {})
    return {section: settings(**(values.get(section) or {})) for section, settings in SECTIONS.items()}


def check_options(code: orm.AbstractCode | None, options: Mapping[str, object] | None) -> bool:
    """Return True if there is a code; raises InvalidSettings for options without one."""
    if code is None and options:
        raise InvalidSettings("options are those of jobs: give the code of mbetrain-worker too, or leave them out.")
    return code is not None


def set_options(builder: ProcessBuilderNamespace, stages: Sequence[str], options: Mapping[str, object] | None) -> None:
    """Give the jobs of the stages the same ``metadata.options``."""
    for stage in stages:
        for name, value in copy.deepcopy(dict(options or {})).items():
            builder[stage].metadata.options[name] = value


class ProtocolMixin:
    """``get_builder_from_protocol`` for a WorkChain of one stage."""

    protocol_section: ClassVar[str]
    source_port: ClassVar[str] = "structure"
    heavy_stages: ClassVar[tuple[str, ...]]

    @classmethod
    def get_builder_from_protocol(
        cls,
        source: orm.Data,
        model: orm.Data,
        *,
        code: orm.AbstractCode | None = None,
        protocol: str | None = None,
        overrides: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> ProcessBuilder:
        """A builder with a protocol's settings.

        source: the structure, or for phonon sampling the force constants.
        code: mbetrain-worker on some computer; without it the heavy stages run in this process.
        options: ``metadata.options`` of the jobs.
        overrides: ``{"md_sampling": {...}, "inference": {...}}``; only fields that differ from the protocol.
        """
        from aiida import orm

        settings = protocol_settings(protocol, overrides)
        builder: ProcessBuilder = cls.get_builder()  # type: ignore[attr-defined]  # a mixin of WorkChains
        builder[cls.source_port] = source
        builder.model = model
        builder.inference = orm.Dict(settings["inference"].to_dict())
        builder.settings = orm.Dict(settings[cls.protocol_section].to_dict())
        if check_options(code, options):
            builder.code = code
            set_options(builder, cls.heavy_stages, options)
        return builder
