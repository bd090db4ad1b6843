"""Import of ``mace.modules`` without what only trainings need.

``mace.tools`` imports everything it offers, training, metrics and plots included, and ``mace.tools.compile`` imports
the compiler of PyTorch: two thirds of the time that ``import mace.modules`` takes.  Neither is needed to evaluate a
model.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Self, cast

PACKAGES = ("mace.tools", "e3nn.io")
"""Packages of which only the modules that are asked for are imported."""
COMPILER = "torch._dynamo"


@contextlib.contextmanager
def inference_only() -> Iterator[None]:
    """Import single modules of ``PACKAGES`` within, and whole packages where they are wanted later.

    Packages that are imported already stay as they are.
    """
    packages = [PackageInParts.install(name) for name in PACKAGES if name not in sys.modules]
    compiler = None if COMPILER in sys.modules else ImportedOnUse(COMPILER)
    if compiler is not None:
        sys.modules[COMPILER] = compiler
    try:
        yield
    finally:
        if compiler is not None:
            del sys.modules[COMPILER]
        for package in packages:
            del sys.modules[package.__name__]
            sys.meta_path.insert(0, FinderOfTheRest(package))


class ImportedOnUse(ModuleType):
    """Stand-in for a module, which imports it when an attribute is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


class PackageInParts(ModuleType):
    """Package whose ``__init__`` has not run.

    While it is among the imported modules, names that ``__init__`` takes from one of its modules come from there.
    Afterwards the first name or module that is not there yet brings all of it, by :class:`FinderOfTheRest`.
    """

    _modules: Mapping[str, str]

    @classmethod
    def install(cls, name: str) -> Self:
        """Put it in place of the package."""
        spec = cast(ModuleSpec, importlib.util.find_spec(name))
        module = importlib.util.module_from_spec(spec)
        module.__class__ = cls
        package = cast(Self, module)
        package._modules = _module_of_name(Path(str(spec.origin)).read_text("utf-8"))
        sys.modules[name] = package
        parent, _, last = name.rpartition(".")
        setattr(importlib.import_module(parent), last, package)
        return package

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is not self:
            return getattr(importlib.import_module(self.__name__), name)
        if name not in self._modules:
            raise AttributeError(name)
        return getattr(importlib.import_module(f"{self.__name__}.{self._modules[name]}"), name)


class FinderOfTheRest(MetaPathFinder, Loader):
    """Import of a package into the module that has some of its parts already."""

    def __init__(self, package: PackageInParts) -> None:
        self._package: ModuleType = package
        self._loader = cast(Loader, package.__loader__)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of the package, found once."""
        if fullname != self._package.__name__:
            return None
        sys.meta_path.remove(self)
        spec = cast(ModuleSpec, importlib.util.find_spec(fullname))
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module with the parts, from now on an ordinary one."""
        self._package.__class__ = ModuleType
        return self._package

    def exec_module(self, module: ModuleType) -> None:
        """Run ``__init__``."""
        self._loader.exec_module(module)


def _module_of_name(source: str) -> dict[str, str]:
    """Name -> module, of the statements ``from .module import name``."""
    imports = (node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom) and node.level == 1)
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}
