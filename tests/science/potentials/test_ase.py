"""ASE calculators as potentials."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from models import rattled
from pydantic import ValidationError

from aiida_mbetrain.errors import ElementsNotInModel, InvalidSettings, UnknownCalculator
from aiida_mbetrain.science.potentials import AsePotential, named_calculator
from aiida_mbetrain.settings import NamedCalculator


class CountingLennardJones(LennardJones):
    n_calls = 0

    def calculate(self, *args, **kwargs):
        self.n_calls += 1
        super().calculate(*args, **kwargs)


def test_labels_equal_the_calculators_own():
    sets = [rattled(bulk("Cu", cubic=True), 2, 1), rattled(molecule("CH4"), 3, 2)]
    for part, labels in zip(sets, AsePotential(EMT()).evaluate(sets), strict=True):
        for frame, atoms in enumerate(part.to_atoms()):
            atoms.calc = EMT()
            assert labels.energies[frame] == pytest.approx(atoms.get_potential_energy(), rel=1e-13)
            np.testing.assert_allclose(labels.forces[frame], atoms.get_forces(), atol=1e-12)
            if part.periodic:
                np.testing.assert_allclose(labels.stress[frame], atoms.get_stress(voigt=False), atol=1e-13)
        assert (labels.stress is not None) == part.periodic


def test_each_configuration_is_evaluated_once():
    calculator = CountingLennardJones(sigma=3.4, epsilon=0.01)
    calls = []
    part = rattled(bulk("Ar", cubic=True), 4, 1)
    AsePotential(calculator).evaluate([part], report=lambda done, total: calls.append((done, total)))
    assert calculator.n_calls == 4
    assert calls == [(4, 16), (8, 16), (12, 16), (16, 16)]


def test_there_are_no_features():
    potential = AsePotential(LennardJones())
    assert potential.feature_length == 0
    [labels] = potential.evaluate([rattled(molecule("CH4"), 1, 1)], features=True)
    assert labels.features is None


def test_earlier_evaluations_do_not_matter():
    pytest.importorskip("tblite")
    potential = named_calculator(NamedCalculator(name="tblite", parameters={"method": "GFN1-xTB"}))
    water = rattled(molecule("H2O"), 2, 1)
    [both] = potential.evaluate([water])
    [second] = potential.evaluate([water.select([1])])
    assert both.energies[1] == second.energies[0]
    assert np.array_equal(both.forces[1], second.forces[0])


@pytest.mark.parametrize(
    ("name", "parameters", "atoms"),
    [
        ("lennard_jones", {"sigma": 3.4, "epsilon": 0.0104, "rc": 10.0, "smooth": True}, bulk("Ar", cubic=True)),
        ("morse", {"epsilon": 1.0, "r0": 2.5, "rho0": 3.0}, bulk("Cu")),
        ("emt", {}, bulk("Cu", cubic=True)),
        ("tblite", {"method": "GFN1-xTB"}, molecule("H2O")),
    ],
)
def test_named_calculators_give_forces_that_are_the_energy_gradient(name, parameters, atoms):
    if name == "tblite":
        pytest.importorskip("tblite")
    potential, h = named_calculator(NamedCalculator(name=name, parameters=parameters)), 1e-4
    part = rattled(atoms, 1, 1)
    step = np.zeros_like(part.positions)
    step[0, 0, 0] = h
    labels, up, down = potential.evaluate(
        [part, part.with_(positions=part.positions + step), part.with_(positions=part.positions - step)]
    )
    assert labels.forces[0, 0, 0] == pytest.approx(-(up.energies[0] - down.energies[0]) / (2 * h), abs=1e-4)


def test_known_elements_are_refused_otherwise():
    with pytest.raises(ElementsNotInModel, match="Fe"):
        named_calculator(NamedCalculator(name="emt")).evaluate([rattled(bulk("Fe"), 1, 1)])


def test_a_parameter_the_calculator_lacks_is_refused_with_the_known_ones():
    with pytest.raises(UnknownCalculator, match=r"sigmma.*epsilon.*sigma"):
        named_calculator(NamedCalculator(name="lennard_jones", parameters={"sigmma": 3.4}))


def test_a_value_the_calculator_refuses_is_named():
    pytest.importorskip("tblite")
    potential = named_calculator(NamedCalculator(name="tblite", parameters={"method": "GFN9"}))
    with pytest.raises(UnknownCalculator, match="GFN9"):
        potential.evaluate([rattled(molecule("H2O"), 1, 1)])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    with pytest.raises(UnknownCalculator, match="tblite"):
        named_calculator(NamedCalculator(name="tblite"))


def test_a_name_outside_the_list_is_never_imported():
    with pytest.raises((InvalidSettings, ValidationError)):
        NamedCalculator(name="os.system")
    with pytest.raises(UnknownCalculator, match=r"os\.system.*lennard_jones"):
        named_calculator(NamedCalculator.model_construct(name="os.system", parameters={}))


def test_description_records_the_parameters():
    described = named_calculator(NamedCalculator(name="lennard_jones", parameters={"sigma": 3.4})).describe()
    assert described["name"] == "lennard_jones"
    assert '"sigma": 3.4' in described["parameters"]
    assert described["ase_version"]
