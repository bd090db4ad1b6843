"""Calcfunctions are taken from the cache for equal versions alone."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.manage.caching import enable_caching
from ase.build import bulk

from aiida_mbetrain.calculations import cached_versions
from aiida_mbetrain.calculations.functions.molecular_dynamics import md_supercell
from aiida_mbetrain.settings import ClassicalMD


def source_of(structure: orm.StructureData) -> str | None:
    settings = orm.Dict(ClassicalMD(supercell_radius=7.0).to_dict())
    _, node = md_supercell.run_get_node(structure=structure, settings=settings)
    assert node.is_finished_ok, node.exit_message
    return node.base.caching.get_cache_source()


@pytest.mark.parametrize("changed", ["aiida-mbetrain", "mace-torch", "torch", "phonopy"])
def test_a_changed_version_computes_anew(monkeypatch, changed):
    structure = orm.StructureData(ase=bulk("Ar", "fcc", a=5.3))
    usual = cached_versions.package_versions()
    assert changed in usual
    source_of(structure)
    with enable_caching():
        assert source_of(structure) is not None
        monkeypatch.setattr(cached_versions, "package_versions", lambda: usual | {changed: f"0.0.{changed}"})
        assert source_of(structure) is None
        assert source_of(structure) is not None
