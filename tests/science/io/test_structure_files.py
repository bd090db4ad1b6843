"""Partial, shared and unknown occupancies are refused under the name of their site; deuterium keeps its mass."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from cif_files import write_cif

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import read_frames


def read(path):
    return read_frames(path, what="a crystal")


@pytest.mark.parametrize("occupancy", ["0.5", "0", "2", "-1", "?", "0.999"])
def test_site_without_occupancy_1_is_refused_by_name(tmp_path, occupancy):
    path = write_cif(tmp_path / "a.cif", "Ar1 Ar 0 0 0 1", f"Ar7B Ar 0.5 0.5 0.5 {occupancy}")
    with pytest.raises(InvalidStructure, match=r"a\.cif: The site Ar7B has the .*occupancy .*: .*make an ordered"):
        read(path)


def test_mixed_site_is_refused_by_name(tmp_path):
    path = write_cif(tmp_path / "mixed.cif", "ArA Ar 0 0 0 0.5", "KrB Kr 0 0 0 0.5", "Ar2 Ar .5 .5 .5 1")
    with pytest.raises(InvalidStructure, match=r"site ArA has the occupancy 0\.5"):
        read(path)


def test_two_fully_occupying_elements_on_one_site_are_refused(tmp_path):
    path = write_cif(tmp_path / "mixed.cif", "ArA Ar 0 0 0 1", "KrB Kr 0 0 0 1", "Ar2 Ar .5 .5 .5 1")
    with pytest.raises(InvalidStructure, match="shared by Ar 1, Kr 1"):
        read(path)


@pytest.mark.parametrize("occupancy", ["1", "1.0", "1.000(3)", "."])
def test_full_occupancy_is_accepted(tmp_path, occupancy):
    [atoms] = read(write_cif(tmp_path / "a.cif", "Ar1 Ar 0 0 0 1", f"Kr1 Kr 0.5 0.5 0.5 {occupancy}"))
    assert str(atoms.symbols) == "ArKr"


def test_absent_occupancy_is_full(tmp_path):
    [atoms] = read(write_cif(tmp_path / "a.cif", "Ar1 Ar 0 0 0", "Kr1 Kr 0.5 0.5 0.5", occupancies=False))
    assert len(atoms) == 2


def test_occupancy_that_ase_keeps_is_refused():
    atoms = Atoms("Ar", cell=5.3 * np.eye(3), pbc=True)
    atoms.info["occupancy"] = {"0": {"Ar": 0.5, "Kr": 0.5}}
    with pytest.raises(InvalidStructure, match=r"site 0 .* shared by Ar 0\.5, Kr 0\.5"):
        Configurations.from_atoms(atoms)
    atoms.info["occupancy"] = {"0": {"Ar": 1.0}}
    assert Configurations.from_atoms(atoms).n_atoms == 1


def test_symbol_D_is_an_atom_of_deuterium(tmp_path):
    [atoms] = read(write_cif(tmp_path / "a.cif", "D1 D 0 0 0 1", "Cl1 Cl 0 0 0.24 1"))
    crystal = Configurations.from_atoms(atoms)
    assert crystal.numbers.tolist() == [1, 17]
    np.testing.assert_allclose(crystal.masses, [2.01410178, 35.45])


def test_masses_of_an_extended_xyz_file_are_kept(tmp_path):
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]], masses=[1.008, 2.0141])
    write(tmp_path / "hd.xyz", atoms, columns=["symbols", "positions", "masses"])
    [found] = read(tmp_path / "hd.xyz")
    np.testing.assert_allclose(Configurations.from_atoms(found).masses, [1.008, 2.0141])
