"""The file as another program sees it: every path, shape, dtype, unit and attribute, read with h5py alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import units
from dataset_examples import CELL, INDEX_MAP, LABEL, NUMBERS, full_dataset, md_section, phonon_section

from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.model import Dataset

A, PER, SQUARED, CUBED = "\u212b", "\u2215", "\u00b2", "\u00b3"
MD = "training/md_sampling/crystal[dyn:T=298.15,p=0.00010]"
QH = "training/quasi_harmonic"
PH = "training/phonon_sampling"
DATASET = full_dataset()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[h5py.File]:
    path = tmp_path_factory.mktemp("layout") / "dataset.hdf5"
    write_dataset(path, DATASET)
    with h5py.File(path, "r") as opened:
        yield opened


STRUCTURES = {
    f"{MD}/molecular_crystal/supercell": (4, 7, True),
    f"{MD}/finite_subsystems/n=1/cluster_of_molecules": (4, 3, False),
    f"{MD}/finite_subsystems/n=2/cluster_of_molecules": (4, 6, False),
    f"{QH}/structures/{LABEL}": (1, 7, True),
    f"{QH}/phonons/{LABEL}/force_constants/primitive": (1, 7, True),
    f"{QH}/phonons/{LABEL}/force_constants/supercell": (1, 14, True),
    f"{PH}/molecular_crystal/supercell": (6, 7, True),
    f"{PH}/finite_subsystems/r=6.50/cluster_of_molecules": (6, 6, False),
}


@pytest.mark.parametrize("path", sorted(STRUCTURES))
def test_structures(file: h5py.File, path: str) -> None:
    group = file[path]
    n_frames, n_atoms, periodic = STRUCTURES[path]
    assert group.attrs["dataclass"] == "Structure"
    assert (group.attrs["n_frames"], group.attrs["n_atoms"]) == (n_frames, n_atoms)
    assert bool(group.attrs["periodic"]) is periodic
    assert group.attrs["feature_vectors_type"] == ("atomic" if "feature_vectors" in group else "none")
    assert group[f"positions ({A})"].shape == ((n_atoms, 3) if n_frames == 1 else (n_frames, n_atoms, 3))
    assert group["atomic_numbers"].shape == group["masses (u)"].shape == (n_atoms,)
    assert (f"cell_vectors ({A})" in group) is periodic


TRAJECTORY = {
    "time (fs)": (4,),
    "T (K)": (4,),
    "p (GPa)": (4,),
    f"V ({A}{CUBED}{PER}atom)": (4,),
    f"E_kin (eV{PER}atom)": (4,),
    f"E_pot (eV{PER}atom)": (4,),
    f"E_trans_drift (eV{PER}atom)": (4,),
    f"positions ({A})": (4, 7, 3),
    f"velocities ({A}{PER}fs)": (4, 7, 3),
    f"forces (eV{PER}{A})": (4, 7, 3),
    f"cell_vectors ({A})": (4, 3, 3),
    "masses (u)": (7,),
}


@pytest.mark.parametrize("name", sorted(TRAJECTORY))
def test_trajectory_datasets(file: h5py.File, name: str) -> None:
    dataset = file[f"{MD}/trajectory"][name]
    assert dataset.shape == TRAJECTORY[name]
    assert dataset.dtype == np.float64


def test_trajectory_attributes(file: h5py.File) -> None:
    attributes = file[f"{MD}/trajectory"].attrs
    expected = {
        "dataclass": "Trajectory", "ensemble": "NPT", "n_frames": 4, "n_atoms": 7, "periodic": True,
        "target_temperature (K)": 298.15, "target_pressure (GPa)": 1e-4, "time_equilibration (fs)": 100.0,
        "n_removed_trans_dof": 3, "n_removed_rot_dof": 0, "feature_vectors_type": "none",
    }  # fmt: skip
    assert {name: attributes[name] for name in expected} == expected


def test_trajectory_holds_the_series_at_the_times_of_its_frames(file: h5py.File) -> None:
    group, section = file[f"{MD}/trajectory"], DATASET.md[0]
    rows = [4, 6, 8, 10]  # a frame every 100 fs from 200 fs, a row every 50 fs
    assert group["time (fs)"][()].tolist() == [200.0, 300.0, 400.0, 500.0]
    np.testing.assert_array_equal(group["T (K)"], section.series["temperature_K"][rows])
    np.testing.assert_array_equal(group["p (GPa)"], section.series["pressure_GPa"][rows])
    np.testing.assert_array_equal(group[f"E_kin (eV{PER}atom)"], section.series["kinetic_energy_eV"][rows] / 7)


def test_energies_and_volumes_are_per_atom(file: h5py.File) -> None:
    section = DATASET.md[0]
    assert section.molecules is not None
    group = file[f"{MD}/trajectory"]
    np.testing.assert_allclose(group[f"E_pot (eV{PER}atom)"], section.trajectory.energies / 7, rtol=1e-15)
    volumes = [abs(np.dot(a, np.cross(b, c))) / 7 for a, b, c in section.trajectory.cells]
    np.testing.assert_allclose(group[f"V ({A}{CUBED}{PER}atom)"], volumes, rtol=1e-12)
    pair = section.molecules.clusters[0]
    stored = file[f"{MD}/finite_subsystems/n=2/cluster_of_molecules"][f"E_pot (eV{PER}atom)"]
    np.testing.assert_allclose(stored, pair.configurations.energies / 6, rtol=1e-15)


def test_drift_energy_is_that_of_the_centre_of_mass(file: h5py.File) -> None:
    """With ASE's own momenta: |P|² / 2M of the atoms as ASE sees them."""
    frames = DATASET.md[0].trajectory
    energies = []
    for atoms, velocities in zip(frames.to_atoms(), frames.velocities, strict=True):
        atoms.set_velocities(velocities / units.fs)
        momentum = atoms.get_momenta().sum(axis=0)
        energies.append(momentum @ momentum / (2 * atoms.get_masses().sum()) / len(atoms))
    np.testing.assert_allclose(file[f"{MD}/trajectory"][f"E_trans_drift (eV{PER}atom)"], energies, rtol=1e-12)


@pytest.mark.parametrize("root", [MD, PH])
def test_molecular_crystal(file: h5py.File, root: str) -> None:
    group = file[f"{root}/molecular_crystal"]
    attributes = {"dataclass": "MolecularCrystal", "n_molecules": 3, "central_molecule_index": 1}
    assert {name: group.attrs[name] for name in attributes} == attributes
    assert not group.attrs["identical_composition"]
    assert group["index_map"].dtype == np.int64
    np.testing.assert_array_equal(group["index_map"], INDEX_MAP)
    assert group[f"centers_of_mass ({A})"].shape == (3, 3)
    for name in ("min", "max"):
        assert group[f"{name}_distances_to_central_molecule ({A})"].shape == (3,)


def test_finite_subsystems(file: h5py.File) -> None:
    assert set(file[f"{MD}/finite_subsystems"]) == {"n=1", "n=2", "n=10"}
    group = file[f"{MD}/finite_subsystems/n=2"]
    assert (group.attrs["dataclass"], group.attrs["n_molecules"]) == ("FiniteSubsystem", 2)
    assert group["molecule_indices"][()].tolist() == [1, 0]
    assert group["lattice_translations"].shape == (2, 3)
    atoms = group["cluster_of_molecules"]
    assert atoms["atomic_numbers"][()].tolist() == [8, 1, 1, 6, 8, 8]
    assert atoms["feature_vectors"].shape == (4, 6, 5)
    assert file[f"{PH}/finite_subsystems/r=6.50"].attrs["n_repeated_molecules"] == 1


def test_every_cluster_frame_says_where_it_came_from(file: h5py.File) -> None:
    md = file[f"{MD}/finite_subsystems/n=2/cluster_of_molecules/origin"]
    assert md["md_step"][()].tolist() == [200, 300, 400, 500]
    assert md["time (fs)"].dtype == np.float64
    assert md["intact"].dtype == np.bool_
    phonon = file[f"{PH}/finite_subsystems/r=6.50/cluster_of_molecules/origin"]
    assert phonon["mode"][()].tolist() == [4, 4, 5, 5, 9, 9]
    assert phonon["frequency (THz)"][()].tolist() == [1.1, 1.1, 1.3, 1.3, 4.0, 4.0]
    assert phonon["q_point"].shape == (6, 3)


def test_a_constant_cell_is_written_once_and_a_varying_one_for_every_frame(file: h5py.File) -> None:
    np.testing.assert_array_equal(file[f"{PH}/molecular_crystal/supercell"][f"cell_vectors ({A})"], CELL)
    assert file[f"{MD}/molecular_crystal/supercell"][f"cell_vectors ({A})"].shape == (4, 3, 3)


def test_force_constants(file: h5py.File) -> None:
    group = file[f"{QH}/phonons/{LABEL}/force_constants"]
    assert group.attrs["dataclass"] == "ForceConstants"
    constants = DATASET.quasi_harmonic[0].force_constants[LABEL]
    np.testing.assert_array_equal(group[f"force_constants (eV{PER}{A}{SQUARED})"], constants.force_constants)
    assert group["supercell_matrix"].dtype == np.int64
    assert group["supercell_matrix"][()].tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_brillouin_zone_path(file: h5py.File) -> None:
    group = file[f"{QH}/phonons/{LABEL}/brillouin_zone_path"]
    assert (group.attrs["dataclass"], group.attrs["n_segments"], group.attrs["n_bands"]) == ("BrillouinZonePath", 2, 21)
    assert group["path_connections"].dtype == np.bool_
    assert group["labels"][()].astype(str).tolist() == ["$\\Gamma$", "X", "Y", "$\\Gamma$"]  # needs ASCII
    assert group["frequencies_segment_1 (THz)"].shape == (4, 21)
    assert group["distances_segment_0"].shape == (5,)
    assert group["kpoints_segment_0"].shape == (5, 3)


def test_kept_operations_are_recorded_with_the_force_constants(file: h5py.File) -> None:
    group = file[f"{QH}/phonons/{LABEL}/force_constants"]
    assert 1 <= group.attrs["n_operations_kept"] <= group.attrs["n_operations"]


def test_thermodynamics(file: h5py.File) -> None:
    group = file[f"{QH}/thermodynamics_fixed_volume"]
    assert group["T (K)"][()].tolist() == [0.0, 298.15]
    assert group[f"V_crystal ({A}{CUBED}{PER}unit cell)"].dtype == np.float64
    assert group["acoustic_freqs_real_crystal"].dtype == np.bool_
    assert group["n_left_out_modes_crystal"][()].tolist() == [2, 2]
    assert group.attrs["n_left_out_modes"] == 2
    assert group["system_label_crystal"].asstr()[()].tolist() == [LABEL, LABEL]
    curves = file[f"{QH}/eos_interpolated"]
    counts = {name: curves.attrs[name] for name in ("n_temperatures", "n_volumes", "n_interp")}
    assert counts == {"n_temperatures": 3, "n_volumes": 4, "n_interp": 20}
    assert f"{QH}/eos_sampled" in file


def test_modes_of_phonon_sampling(file: h5py.File) -> None:
    group = file[f"{PH}/modes"]
    assert group["mode_indices"][()].tolist() == [4, 5, 9]
    assert group["frequency (THz)"][()].tolist() == [1.1, 1.3, 4.0]
    assert group["amplitudes (sigma)"].shape == (2, 3)
    assert file[PH].attrs["force_constants_key"] in file
    assert (file[PH].attrs["statistics"], file[PH].attrs["n_imaginary"]) == ("quantum", 1)


def test_numbers_are_64_bit_and_strings_utf_8(file: h5py.File) -> None:
    strange = []

    def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            text = h5py.check_string_dtype(item.dtype)
            utf_8 = text is not None and text.encoding == "utf-8" and text.length is None
            if not (utf_8 or item.dtype in (np.dtype("i8"), np.dtype("f8"), np.dtype(bool))):
                strange.append((path, item.dtype))

    file.visititems(visit)
    assert strange == []


def test_no_nvt_run_has_a_pressure(tmp_path: Path) -> None:
    section = md_section(np.random.default_rng(1), ensemble="NVT", molecules=False)
    write_dataset(tmp_path / "nvt.hdf5", Dataset((section,)))
    with h5py.File(tmp_path / "nvt.hdf5", "r") as nvt:
        group = nvt["training/md_sampling/crystal[dyn:T=298.15]/trajectory"]
        assert "p (GPa)" not in group
        assert "target_pressure (GPa)" not in group.attrs
        assert f"V ({A}{CUBED}{PER}atom)" not in group
        assert "finite_subsystems" not in group.parent


def test_phonon_frames_without_molecules_are_kept_as_they_are(tmp_path: Path) -> None:
    section = phonon_section(np.random.default_rng(1), molecules=False)
    write_dataset(tmp_path / "ph.hdf5", Dataset((*DATASET.quasi_harmonic, section)))
    with h5py.File(tmp_path / "ph.hdf5", "r") as ph:
        np.testing.assert_array_equal(ph[f"{PH}/frames/positions ({A})"], section.frames.positions)


def test_chemical_elements_have_their_standard_masses(file: h5py.File) -> None:
    masses = dict(zip(NUMBERS.tolist(), file[f"{MD}/trajectory/masses (u)"][()].tolist(), strict=True))
    assert masses == pytest.approx({6: 12.011, 8: 15.999, 1: 1.008, 18: 39.948}, abs=2e-3)
