"""Programs of quantum chemistry: energies, forces, ghosts, charges and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed
from aiida_mbetrain.science.reference_labels.backends import backend_of
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments
from aiida_mbetrain.settings import AseMethod, OrcaMethod, PyscfMethod, TbliteMethod

NUMBERS = np.array([8, 1, 1, 8, 1, 1])
POSITIONS = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [0, 0, 2.9], [0.76, 0.0, 3.5], [-0.76, 0.1, 3.48]])
NO_GHOSTS, SECOND_IS_GHOST = np.zeros(6, bool), np.arange(6) > 2


def dimer(ghosts=NO_GHOSTS, positions=POSITIONS):
    return Fragment(NUMBERS, positions, ghosts)


def pyscf(method, basis="6-31g", **others):
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    if "dispersion" in others:
        pytest.importorskip("pyscf.dispersion", reason="pyscf-dispersion is not installed")
    return backend_of(PyscfMethod(method=method, basis=basis, **others))


def tblite(method="GFN2-xTB"):
    pytest.importorskip("tblite", reason="tblite is not installed")
    return backend_of(TbliteMethod(method=method))


def numerical_force(backend, ghosts, atom, axis, h=1e-3):
    energies = []
    for step in (h, -h):
        positions = POSITIONS.copy()
        positions[atom, axis] += step
        energies.append(backend.evaluate(dimer(ghosts, positions)).energy)
    return (energies[1] - energies[0]) / (2 * h)


BACKENDS = {
    "GFN1-xTB": (lambda: tblite("GFN1-xTB"), 1e-4),
    "GFN2-xTB": (tblite, 1e-4),
    "lj": (lambda: backend_of(AseMethod(method="lj", parameters={"sigma": 0.9})), 1e-4),
    "HF": (lambda: pyscf("HF"), 1e-4),
    "HF-D3BJ": (lambda: pyscf("HF", dispersion="d3bj"), 1e-4),
    "MP2 without density fitting": (lambda: pyscf("MP2", density_fitting=False), 1e-4),
    # the integration grid moves with the atoms, and the forces leave that out
    "PBE-D4": (lambda: pyscf("PBE", dispersion="d4", grid_level=1), 3e-3),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_forces_are_derivatives_of_the_energy(name):
    make, tolerance = BACKENDS[name]
    backend = make()
    for ghosts in (NO_GHOSTS, SECOND_IS_GHOST) if backend.has_ghosts else (NO_GHOSTS,):
        forces = backend.evaluate(dimer(ghosts)).forces
        assert forces[4, 0] == pytest.approx(numerical_force(backend, ghosts, 4, 0), abs=tolerance, rel=1e-4)


@pytest.mark.parametrize("method", ["HF", "MP2", "CCSD(T)"])
def test_counterpoise_correction_of_the_water_dimer_is_that_of_plain_pyscf(method):
    """PySCF with strings of geometry and full integrals, its own constants, called by hand."""
    gto = pytest.importorskip("pyscf.gto", reason="PySCF is not installed")
    from pyscf import cc, mp, scf

    def independent(ghosts, only_real):
        symbols = ["O", "H", "H", "O", "H", "H"]
        lines = [
            f"{'X-' * bool(ghost)}{symbol} {x} {y} {z}"
            for symbol, ghost, (x, y, z) in zip(symbols, ghosts, POSITIONS, strict=True)
            if not (ghost and only_real)
        ]
        field = scf.RHF(gto.M(atom="; ".join(lines), basis="6-31g", verbose=0)).run(conv_tol=1e-11)
        frozen = round(sum(z > 2 for z in field.mol.atom_charges()))
        if method == "MP2":
            return mp.MP2(field, frozen=frozen).run().e_tot * 27.211386
        if method == "CCSD(T)":
            solver = cc.CCSD(field, frozen=frozen).run()
            return (solver.e_tot + solver.ccsd_t()) * 27.211386
        return field.e_tot * 27.211386

    backend = pyscf(method, density_fitting=False)
    monomer = Fragment(NUMBERS[:3], POSITIONS[:3], NO_GHOSTS[:3])
    energies = [backend.evaluate(fragment).energy for fragment in (dimer(), dimer(SECOND_IS_GHOST), monomer)]
    wanted = [independent(NO_GHOSTS, False), independent(SECOND_IS_GHOST, False), independent(SECOND_IS_GHOST, True)]
    np.testing.assert_allclose(energies, wanted, rtol=1e-7)
    assert energies[1] - energies[2] == pytest.approx(wanted[1] - wanted[2], abs=2e-6)
    assert energies[1] < energies[2] - 0.01


def test_density_fitting_changes_energies_by_little():
    fitted, exact = (pyscf("HF", density_fitting=fit).evaluate(dimer()).energy for fit in (True, False))
    assert 1e-6 < abs(fitted - exact) < 0.02


@pytest.mark.parametrize("method", ["MP2", "CCSD(T)"])
def test_methods_without_a_gradient_give_energies_alone(method):
    assert pyscf(method).evaluate(dimer()).forces is None
    assert not PyscfMethod(method=method, basis="6-31g").gives_forces


def test_the_frozen_core_is_that_of_real_atoms():
    backend = pyscf("MP2")
    with_ghosts = backend.evaluate(dimer(SECOND_IS_GHOST)).energy
    alone = backend.evaluate(Fragment(NUMBERS[:3], POSITIONS[:3], NO_GHOSTS[:3])).energy
    assert -0.5 < with_ghosts - alone < 0.0
    assert pyscf("MP2", frozen_core=False).evaluate(dimer()).energy < backend.evaluate(dimer()).energy


@pytest.mark.parametrize("method", ["HF", "MP2", "CCSD(T)"])
def test_radicals_are_unrestricted(method):
    hydroxyl = Fragment(np.array([8, 1]), np.array([[0.0, 0, 0], [0.97, 0, 0]]), np.zeros(2, bool), 0, 2)
    anion = Fragment(hydroxyl.numbers, hydroxyl.positions, hydroxyl.ghosts, -1, 1)
    backend = pyscf(method)
    assert np.isfinite(backend.evaluate(hydroxyl).energy)
    assert backend.evaluate(anion).energy != pytest.approx(backend.evaluate(hydroxyl).energy, abs=0.1)


def test_dispersion_is_that_of_real_atoms():
    with_ghosts, without = (
        pyscf("HF", **d).evaluate(dimer(SECOND_IS_GHOST)).energy for d in ({"dispersion": "d3bj"}, {})
    )
    alone = Fragment(NUMBERS[:3], POSITIONS[:3], NO_GHOSTS[:3])
    difference = pyscf("HF", dispersion="d3bj").evaluate(alone).energy - pyscf("HF").evaluate(alone).energy
    assert with_ghosts - without == pytest.approx(difference, abs=1e-8)


def test_effective_core_potentials_belong_to_the_basis():
    """def2 replaces 28 electrons of iodine: some -300 E_h are left of -6900."""
    fragment = Fragment(np.array([53, 1]), np.array([[0.0, 0, 0], [1.61, 0, 0]]), np.zeros(2, bool))
    assert pyscf("HF", "def2-SVP").evaluate(fragment).energy / 27.2114 == pytest.approx(-297.6, abs=1.0)


@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB"])
def test_tblite_gives_what_its_ase_calculator_gives(method):
    backend = tblite(method)
    ase_calculator = pytest.importorskip("tblite.ase").TBLite(method=method, verbosity=0, accuracy=0.01)
    from ase import Atoms

    atoms = Atoms(NUMBERS, POSITIONS, calculator=ase_calculator)
    found = backend.evaluate(dimer())
    assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-6)


def test_programs_tell_their_versions():
    from importlib.metadata import version

    assert tblite().program == f"tblite {version('tblite')}"
    assert pyscf("HF").program == f"pyscf {version('pyscf')}"
    assert backend_of(AseMethod(method="lj")).program.startswith("ase 3")


def test_a_calculation_that_does_not_converge_says_so():
    with pytest.raises(ReferenceCalculationFailed, match="SCF not converged in 2 cycles"):
        pyscf("HF", max_iterations=2).evaluate(dimer())
    with pytest.raises(ReferenceCalculationFailed, match="tblite"):
        backend_of(TbliteMethod(max_iterations=1)).evaluate(dimer())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda: PyscfMethod(method="PBE-D7", basis="6-31g"), "PBE-D7.*no functional"),
        (lambda: AseMethod(method="guess"), "'guess': ASE knows"),
        (lambda: AseMethod(method="emt", parameters={"wrong": 3}), "emt has no parameter wrong"),
        (lambda: AseMethod(method="lj", parameters={"sigma": "wide"}), "lj refuses them"),
        (lambda: OrcaMethod(method="PBE0"), "orca is run elsewhere"),
        (lambda: PyscfMethod(method="MP2", basis="6-31g", dispersion="d4"), "not of MP2"),
        (lambda: TbliteMethod(method="GFN7"), "GFN1-xTB"),
    ],
)
def test_methods_that_a_program_does_not_have_are_refused(method, message):
    pytest.importorskip("pyscf", reason="PySCF is not installed")
    with pytest.raises(InvalidSettings, match=message):
        backend_of(method())


def test_what_a_program_cannot_do_is_refused_before_the_first_calculation():
    gold = Fragment(np.array([79]), np.zeros((1, 3)), np.zeros(1, bool), 1)
    with pytest.raises(InvalidSettings, match=r"'6-31g'.*no functions for Au"):
        pyscf("HF").check(Fragments.of([dimer(), gold]))
    with pytest.raises(InvalidSettings, match="does not exist"):
        pyscf("HF", "def2-MIX").check(Fragments.of([dimer()]))
    with pytest.raises(InvalidSettings, match="tblite has no ghost atoms"):
        tblite().check(Fragments.of([dimer(SECOND_IS_GHOST)]))
    with pytest.raises(InvalidSettings, match="no parameters for U"):
        tblite().check(Fragments.of([Fragment(np.array([92]), np.zeros((1, 3)), np.zeros(1, bool))]))
    pyscf("HF").check(Fragments.of([dimer(SECOND_IS_GHOST)]))
