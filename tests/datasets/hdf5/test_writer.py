"""Writing: determinism, provenance, completeness, refusals, size."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from dataset_examples import LABEL, cluster_set, full_dataset, md_section, phonon_section

from aiida_mbetrain import __version__
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import append_dataset, write_dataset
from aiida_mbetrain.datasets.hdf5 import writer as module
from aiida_mbetrain.datasets.model import Dataset, MDSection, Molecules
from aiida_mbetrain.errors import InvalidSettings, UnwritableOutput
from aiida_mbetrain.science.tables import Table

DATASET = full_dataset()
MD = DATASET.md[0]


def test_writing_twice_a_second_apart_gives_the_same_bytes(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET)
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    write_dataset(tmp_path / "b", full_dataset())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


HELPERS = Path(__file__).parents[2] / "helpers"


def test_another_process_with_other_memory_writes_the_same_bytes(tmp_path: Path) -> None:
    """Memory that is handed out dirty must not leak into the file."""
    write_dataset(tmp_path / "here", DATASET)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from dataset_examples import full_dataset\n"
        "from aiida_mbetrain.datasets.hdf5 import write_dataset\n"
        "write_dataset(sys.argv[2], full_dataset())"
    )
    environment = os.environ | {"MALLOC_PERTURB_": "165", "PYTHONHASHSEED": "5"}
    arguments = [sys.executable, "-c", code, str(HELPERS), str(tmp_path / "there")]
    subprocess.run(arguments, env=environment, check=True)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_the_order_of_sections_and_clusters_does_not_matter(tmp_path: Path) -> None:
    assert MD.molecules is not None
    turned = replace(MD, molecules=replace(MD.molecules, clusters=MD.molecules.clusters[::-1]))
    write_dataset(tmp_path / "a", DATASET)
    write_dataset(tmp_path / "b", Dataset((*DATASET.quasi_harmonic, *DATASET.phonons, turned), DATASET.provenance))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def with_other_uuids() -> Dataset:
    return Dataset((replace(MD, provenance={"": {"process_uuid": "9999"}}), *DATASET.sections[1:]))


def test_digest_is_of_the_content_and_not_of_the_provenance(tmp_path: Path) -> None:
    first = write_dataset(tmp_path / "a", DATASET)
    assert write_dataset(tmp_path / "b", with_other_uuids()) == first
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    with h5py.File(tmp_path / "a") as file:
        assert file.attrs["content_sha256"] == first
        assert file.attrs["schema_version"] == 1


def test_root_says_what_the_file_is_which_version_wrote_it_and_where_the_format_is_described(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET)
    with h5py.File(tmp_path / "a") as file:
        assert "Training set of a molecular crystal" in file.attrs["title"]
        assert file.attrs["written_by"] == f"aiida-mbetrain {__version__}"
        described = file.attrs["format"].partition(" in ")[0]
    assert (Path(__file__).parents[3] / described).read_text().startswith("# The HDF5 file")


def test_content_is_the_same_whichever_version_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_dataset(tmp_path / "a", DATASET)
    monkeypatch.setitem(module.ABOUT_FILE, "written_by", "aiida-mbetrain 9.9.9")
    assert write_dataset(tmp_path / "b", DATASET) == first
    assert append_dataset(tmp_path / "a", DATASET) == first
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_arrays_carry_the_unit_of_their_name_as_an_attribute(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET)
    found: dict[str, str | None] = {}
    with h5py.File(tmp_path / "a") as file:
        for group in [file, *groups_below(file)]:
            found |= {name: item.attrs.get("units") for name, item in group.items() if isinstance(item, h5py.Dataset)}
    assert found[names.POSITIONS] == "\u00c5"
    assert found[names.FORCES] == "eV/\u00c5"
    assert found[names.TIME] == "fs"
    assert found[names.F_VIB_CRYSTAL] == "kJ/mol/unit cell"
    assert found[names.ATOMIC_NUMBERS] is None
    assert all((unit is None) == ("(" not in name) for name, unit in found.items())


def groups_below(group: h5py.Group) -> list[h5py.Group]:
    below = [item for item in group.values() if isinstance(item, h5py.Group)]
    return below + [deeper for item in below for deeper in groups_below(item)]


def test_equal_arrays_of_different_units_keep_their_units(tmp_path: Path) -> None:
    """Equal arrays are stored once, but an attribute belongs to the array, not to its name."""
    series = dict(MD.series.columns)
    series["pressure_GPa"] = series["temperature_K"]
    same = replace(MD, series=Table(series))
    write_dataset(tmp_path / "a", Dataset((same,)))
    with h5py.File(tmp_path / "a") as file:
        group = file[f"{MD.group}/time_series"]
        assert np.array_equal(group[names.TEMPERATURE], group[names.PRESSURE])
        assert (group[names.TEMPERATURE].attrs["units"], group[names.PRESSURE].attrs["units"]) == ("K", "GPa")


def test_digest_changes_with_the_last_digit_of_one_number(tmp_path: Path) -> None:
    positions = MD.trajectory.positions.copy()
    positions[2, 3, 1] = np.nextafter(positions[2, 3, 1], np.inf)
    changed = replace(MD, trajectory=MD.trajectory.with_(positions=positions))
    first = write_dataset(tmp_path / "a", DATASET)
    assert write_dataset(tmp_path / "b", Dataset((changed, *DATASET.sections[1:]), DATASET.provenance)) != first


def test_digest_changes_with_an_attribute(tmp_path: Path) -> None:
    phonons = replace(DATASET.phonons[0], statistics="classical")
    first = write_dataset(tmp_path / "a", DATASET)
    assert write_dataset(tmp_path / "b", Dataset((MD, phonons, *DATASET.quasi_harmonic))) != first


def test_without_provenance_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET, provenance=False)
    write_dataset(tmp_path / "b", with_other_uuids(), provenance=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert b"provenance." not in (tmp_path / "a").read_bytes()


def test_provenance_lies_on_the_group_it_belongs_to(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET)
    with h5py.File(tmp_path / "a") as file:
        assert file.attrs["provenance.structure_uuid"] == "0123"
        assert file.attrs["provenance.versions"].tolist() == ["ase 3.29", "mace 0.3.16"]
        assert file[MD.group].attrs["provenance.process_uuid"] == "4b0c"
        assert file[f"{MD.group}/trajectory"].attrs["provenance.n_steps"] == 500
        assert file[f"{MD.group}/finite_subsystems/n=2"].attrs["provenance.input_uuids"].tolist() == ["c", "Γ"]
        assert "provenance.label" not in file[f"{MD.group}/finite_subsystems/n=2"].attrs


def test_a_group_without_provenance_says_what_the_group_around_it_says(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET)
    with h5py.File(tmp_path / "a") as file:
        around = file[f"{MD.group}/finite_subsystems/n=2"].attrs["provenance.node_uuid"]
        for inside in ("", "/origin"):
            found = file[f"{MD.group}/finite_subsystems/n=2/cluster_of_molecules{inside}"].attrs
            assert found["provenance.node_uuid"] == around
        constants = file[f"training/quasi_harmonic/phonons/{LABEL}/force_constants"]
        assert constants["primitive"].attrs["provenance.node_uuid"] == "dd44"
        outside = [file["training"], file["training/md_sampling"]]
        assert not [name for group in outside for name in group.attrs if name.startswith("provenance.")]


def test_what_was_made_with_the_trajectory_names_its_process_and_not_its_node(tmp_path: Path) -> None:
    made = {"trajectory": {"process_uuid": "ab12", "node_uuid": "cd34"}, "molecular_crystal": {"process_uuid": "ef56"}}
    write_dataset(tmp_path / "a", Dataset((replace(MD, provenance={"": {"settings_uuid": "1"}, **made}),)))
    with h5py.File(tmp_path / "a") as file:
        for path in ("time_series", "molecular_crystal/supercell"):
            assert file[MD.group][path].attrs["provenance.process_uuid"] == "ab12"
            assert "provenance.node_uuid" not in file[MD.group][path].attrs
        assert file[MD.group]["molecular_crystal/reference"].attrs["provenance.process_uuid"] == "ef56"


def test_an_earlier_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("something else")
    write_dataset(tmp_path / "a", DATASET)
    assert os.listdir(tmp_path) == ["a"]
    assert h5py.is_hdf5(tmp_path / "a")


def test_the_file_has_the_permissions_that_the_user_gives_to_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_dataset(tmp_path / "a", DATASET)
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == stat.S_IMODE(os.stat(tmp_path / "plain").st_mode)


def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("something else")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(UnwritableOutput, match="No space left on device"):
        write_dataset(tmp_path / "a", DATASET)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "something else"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing/a.hdf5", "does not exist"), ("folder", "is a folder"), ("text/a.hdf5", "does not exist")],
)
def test_output_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("")
    with pytest.raises(UnwritableOutput, match=reason) as caught:
        write_dataset(tmp_path / name, DATASET)
    assert "\n" not in caught.value.message
    assert caught.value.code == 306


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # root may write anywhere
    with pytest.raises(UnwritableOutput, match="no permission"):
        write_dataset(tmp_path / "a", DATASET)


def test_two_sections_in_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="root_key"):
        write_dataset(tmp_path / "a", Dataset((MD, MD)))
    assert os.listdir(tmp_path) == []


def test_two_temperatures_share_one_root_key(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", Dataset((MD, replace(MD, temperature_K=150.0))))
    with h5py.File(tmp_path / "a") as file:
        assert len(file["training/md_sampling"]) == 2


@pytest.mark.parametrize("root_key", ["", "/", "a//b", "../up", "a/./b"])
def test_root_keys_that_are_no_paths_are_refused(tmp_path: Path, root_key: str) -> None:
    with pytest.raises(InvalidSettings, match="root_key"):
        write_dataset(tmp_path / "a", Dataset((replace(DATASET.quasi_harmonic[0], root_key=root_key),)))


def test_provenance_of_a_group_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="trajektory"):
        write_dataset(tmp_path / "a", Dataset((replace(MD, provenance={"trajektory": {"uuid": "1"}}),)))


def test_a_key_that_names_no_force_constants_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="force_constants_key"):
        write_dataset(tmp_path / "a", Dataset(DATASET.phonons))


def test_frames_of_the_equilibration_are_refused() -> None:
    """t > time_equilibration_fs: a frame at that very time does not belong to the dataset."""
    with pytest.raises(InvalidSettings, match="equilibration"):
        replace(MD, time_equilibration_fs=200.0)
    assert isinstance(replace(MD, time_equilibration_fs=199.0), MDSection)


@pytest.mark.parametrize("field", ["energies", "forces", "velocities"])
def test_a_trajectory_that_lacks_something_is_refused(field: str) -> None:
    with pytest.raises(InvalidSettings, match=field):
        replace(MD, trajectory=MD.trajectory.with_(**{field: None}))


def test_ensemble_and_pressure_must_agree() -> None:
    with pytest.raises(InvalidSettings, match="NPT"):
        replace(MD, pressure_GPa=None)


def test_frames_without_a_row_in_the_series_are_refused(tmp_path: Path) -> None:
    shifted = MD.trajectory.with_(origin=MD.trajectory.origin | {"time_fs": np.array([200.0, 300.0, 401.0, 500.0])})
    with pytest.raises(ValueError, match=r"401\.0 fs"):
        write_dataset(tmp_path / "a", Dataset((replace(MD, trajectory=shifted),)))


def ten_thousand_clusters() -> Dataset:
    """1000 frames with ten cluster sizes, 6 to 60 atoms, with features: 29 MB."""
    rng = np.random.default_rng(0)
    origin = {"frame": np.arange(1000), "md_step": np.arange(1000), "time_fs": np.arange(1000.0)}
    sizes = [cluster_set(rng, [0, 1] * n, f"n={2 * n}", origin) for n in range(1, 11)]
    section = md_section(rng)
    assert section.molecules is not None
    return Dataset((replace(section, molecules=replace(section.molecules, clusters=tuple(sizes)), provenance={}),))


def raw_bytes(dataset: Dataset) -> int:
    return sum(
        array.nbytes for item in dataset.cluster_sets.values() for array in item.configurations.to_arrays().values()
    )


def test_ten_thousand_clusters_are_written_small_and_without_copies(tmp_path: Path) -> None:
    dataset = ten_thousand_clusters()
    tracemalloc.start()
    write_dataset(tmp_path / "a", dataset)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(item.configurations.n_frames for item in dataset.cluster_sets.values()) == 10_000
    assert os.path.getsize(tmp_path / "a") < 1.1 * raw_bytes(dataset)
    assert peak < 10e6


def test_arrays_that_a_trajectory_shares_with_its_whole_molecules_are_stored_once(tmp_path: Path) -> None:
    """Features make up most of a file; they are the same before and after the molecules are made whole."""
    rng = np.random.default_rng(0)
    section = md_section(rng)
    assert section.molecules is not None
    frames = section.molecules.frames
    features = rng.normal(size=(4, 7, 2000))
    trajectory = frames.with_(velocities=section.trajectory.velocities, features=features)
    moved = frames.with_(features=features, positions=frames.positions + 1.0)
    write_dataset(
        tmp_path / "a",
        Dataset((replace(section, trajectory=trajectory, molecules=replace(section.molecules, frames=moved)),)),
    )
    assert os.path.getsize(tmp_path / "a") < 1.2 * features.nbytes
    with h5py.File(tmp_path / "a") as file:
        supercell = file[f"{section.group}/molecular_crystal/supercell"]
        np.testing.assert_array_equal(supercell["feature_vectors"], features)
        np.testing.assert_array_equal(supercell[names.POSITIONS], moved.positions)
        np.testing.assert_array_equal(file[f"{section.group}/trajectory"][names.POSITIONS], frames.positions)


def test_cluster_keys_must_differ_within_a_section() -> None:
    assert MD.molecules is not None
    with pytest.raises(InvalidSettings, match="n=2"):
        Molecules(MD.molecules.crystal, MD.molecules.frames, (MD.molecules.clusters[0],) * 2)


def test_phonon_sections_have_frames_or_molecules() -> None:
    section = phonon_section(np.random.default_rng(0))
    with pytest.raises(InvalidSettings, match="one of the two"):
        replace(section, molecules=None)


def test_writing_and_reading_files_needs_no_aiida() -> None:
    code = "import sys, aiida_mbetrain.datasets.hdf5; assert 'aiida' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert names.SCHEMA_VERSION == "schema_version"
