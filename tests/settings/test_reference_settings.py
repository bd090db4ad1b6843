"""Settings of reference labels: methods, their identity, and contradictions."""

from __future__ import annotations

import pytest
from settings_catalog import REFERENCE

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.settings import (
    AseMethod,
    ExternalMethod,
    OrcaMethod,
    PyscfMethod,
    ReferenceLabels,
    TbliteMethod,
)

METHODS = [
    TbliteMethod(),
    PyscfMethod(method="PBE", basis="def2-SVP", dispersion="d4"),
    AseMethod(method="lj", parameters={"sigma": 3.4}),
    OrcaMethod(method="PBE0", basis="def2-TZVP", dispersion="D4", keywords=("TightSCF",)),
    ExternalMethod(code="molpro", method="df-mp2", basis="aug-cc-pvtz"),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.program)
def test_a_method_survives_plain_data_and_keeps_its_hash(method):
    settings = ReferenceLabels(method=method)
    again = ReferenceLabels(**settings.to_dict())
    assert again == settings
    assert type(again.method) is type(method)
    assert again.method.hash == method.hash


def test_hashes_tell_methods_apart():
    variants = [*METHODS, TbliteMethod(method="GFN1-xTB"), TbliteMethod(accuracy=1.0)]
    variants += [PyscfMethod(method="PBE", basis="def2-SVP"), PyscfMethod(method="PBE", basis="def2-TZVP")]
    assert len({method.hash for method in variants}) == len(variants)


def test_names_are_levels_of_theory():
    assert [method.name for method in METHODS] == [
        "GFN2-xTB", "PBE-D4/def2-SVP", "lj", "PBE0-D4/def2-TZVP", "df-mp2/aug-cc-pvtz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"counterpoise": "cp"}, "give order as well"),
        ({"counterpoise": "vmfc", "order": 2}, "needs ghost atoms, and tblite has none"),
        ({"order": 0}, "greater than or equal to 1"),
        ({"charges": {"water": 1}}, "'water' is no formula"),
        ({"multiplicities": {"H2O": 0}}, "multiplicities"),
        ({"method": {"program": "gaussian", "method": "HF"}}, "program"),
        ({"method": {"program": "pyscf", "method": "HF"}}, "basis"),
        ({"method": {"program": "tblite", "basis": "STO-3G"}}, "no field 'basis'"),
    ],
)
def test_contradictions_are_refused_by_name(values, message):
    with pytest.raises(InvalidSettings, match=message):
        ReferenceLabels(**values)


@pytest.mark.parametrize("cls", REFERENCE, ids=lambda cls: cls.__name__)
def test_every_field_has_a_description(cls):
    assert all(info.description for info in cls.model_fields.values())
