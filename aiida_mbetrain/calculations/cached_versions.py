"""Versions of packages as a part of what AiiDA's caching compares: a changed one computes anew."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from aiida import engine, orm
from aiida.engine.processes.functions import ProcessFunctionType

from aiida_mbetrain import __version__
from aiida_mbetrain.settings import JsonObject

PACKAGES = ("mace-torch", "torch", "phonopy")
"""Packages beside this one that decide numbers."""

PACKAGE_VERSIONS = "package_versions"
"""Attribute of the process nodes; their hash is made of all attributes."""

P = ParamSpec("P")
R = TypeVar("R")


def package_versions() -> dict[str, str]:
    """Versions of this package and of those that decide numbers, where AiiDA runs."""
    return {"aiida-mbetrain": __version__} | {name: importlib.metadata.version(name) for name in PACKAGES}


def calcfunction(function: Callable[P, R]) -> ProcessFunctionType[P, R, orm.CalcFunctionNode]:
    """Decorate a function as AiiDA's ``calcfunction`` whose node carries the versions when AiiDA looks for an equal."""
    process = engine.calcfunction(function)
    process_class: Any = process.process_class  # made by AiiDA for this function alone
    usual = process_class._setup_version_info

    def with_versions(self: engine.Process) -> JsonObject:
        info: JsonObject = usual(self)
        self.node.base.attributes.set(PACKAGE_VERSIONS, package_versions())
        return info

    process_class._setup_version_info = with_versions
    return process
