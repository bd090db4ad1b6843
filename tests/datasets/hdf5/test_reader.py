"""Reading: everything comes back, and what is not a whole dataset is refused in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from dataset_examples import LABEL, differences, full_dataset, md_section, phonon_section
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mbetrain.datasets.hdf5 import clusters, list_groups, origin_of, read_dataset, validate, write_dataset
from aiida_mbetrain.datasets.layout.objects import per_atom, total
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile

DATASET = full_dataset()
MD, PH = DATASET.md[0], DATASET.phonons[0]
PAIR = f"{MD.group}/finite_subsystems/n=2"
MODE_PAIR = f"{PH.group}/finite_subsystems/r=6.50"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("reader") / "dataset.hdf5"
    write_dataset(target, DATASET)
    return target


EXTENSIVE = (".energies", "potential_energy_eV", "kinetic_energy_eV", "conserved_energy_eV", "volume_A3")


def sorted_clusters(dataset: Dataset) -> Dataset:
    """As the reader orders them, and without what is not written (None)."""
    assert MD.molecules is not None
    ordered = tuple(sorted(MD.molecules.clusters, key=lambda item: int(item.cluster.key[2:])))
    provenance = {group: {k: v for k, v in values.items() if v is not None} for group, values in MD.provenance.items()}
    md = replace(MD, molecules=replace(MD.molecules, clusters=ordered), provenance=provenance)
    return Dataset((md, *dataset.sections[1:]), dataset.provenance)


def test_everything_comes_back_bit_for_bit_but_totals_that_were_divided_by_the_number_of_atoms(path: Path) -> None:
    found = differences(sorted_clusters(DATASET), read_dataset(path))
    assert [line for line in found if not line.partition(":")[0].endswith(EXTENSIVE)] == []


def test_total_energies_come_back_to_the_last_digit(path: Path) -> None:
    read = read_dataset(path)
    written = DATASET.cluster_sets
    assert set(read.cluster_sets) == set(written)
    for entry, found in read.cluster_sets.items():
        np.testing.assert_array_max_ulp(found.configurations.energies, written[entry].configurations.energies, 1)
    for name in EXTENSIVE[1:]:
        np.testing.assert_array_max_ulp(read.md[0].series[name], MD.series[name], 1)


@settings(deadline=None)
@given(
    st.floats(min_value=-1e9, max_value=1e9, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-250),
    st.integers(1, 100_000),
)
def test_energies_per_atom_do_not_change_when_a_file_is_read_and_written(energy: float, n_atoms: int) -> None:
    stored = per_atom(np.array([energy]), n_atoms)
    read = total(stored, n_atoms)
    assert per_atom(read, n_atoms) == stored
    np.testing.assert_array_max_ulp(read, np.array([energy]), 1)


def test_a_file_that_is_read_and_written_again_has_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", read_dataset(path))
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_features_in_single_precision_stay_so(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(4, 7, 5)).astype(np.float32)
    frames = MD.trajectory.with_(features=features)
    write_dataset(tmp_path / "a", Dataset((replace(MD, trajectory=frames),)))
    again = read_dataset(tmp_path / "a")
    assert not differences(again.md[0].trajectory.features, features)
    write_dataset(tmp_path / "b", again)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_dataset_is_read_without_its_features(path: Path) -> None:
    whole, bare = read_dataset(path), read_dataset(path, features=False)
    assert any(item.configurations.features is not None for item in whole.cluster_sets.values())
    for name, item in whole.cluster_sets.items():
        expected = replace(item, configurations=item.configurations.with_(features=None))
        assert not differences(bare.cluster_sets[name], expected)


@pytest.mark.parametrize("ensemble", ["NVT", "NPT"])
def test_sections_without_molecules_come_back(tmp_path: Path, ensemble: str) -> None:
    rng = np.random.default_rng(3)
    md = md_section(rng, ensemble=ensemble, molecules=False)
    phonons = replace(phonon_section(rng, molecules=False), force_constants_key=None)
    write_dataset(tmp_path / "a", Dataset((md, phonons)))
    read = read_dataset(tmp_path / "a")
    assert read.md[0].molecules is None
    assert differences(phonons.modes, read.phonons[0].modes) == []
    np.testing.assert_array_equal(read.phonons[0].frames.positions, phonons.frames.positions)
    assert (read.md[0].pressure_GPa, read.phonons[0].force_constants_key) == (md.pressure_GPa, None)


def test_an_empty_dataset_comes_back(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", Dataset())
    assert read_dataset(tmp_path / "a").sections == ()


def test_groups_are_listed_with_frames_and_atoms(path: Path) -> None:
    found = {item.path: item for item in list_groups(path)}
    assert (found[PAIR].kind, found[PAIR].n_frames, found[PAIR].n_atoms) == ("FiniteSubsystem", 4, 6)
    assert found[f"{MD.group}/trajectory"].kind == "Trajectory"
    assert found[f"training/quasi_harmonic/phonons/{LABEL}/brillouin_zone_path"].n_frames is None


def test_cluster_sets_are_iterated_by_size(path: Path) -> None:
    found = list(clusters(path))
    assert [entry.rpartition("/")[2] for entry, _ in found] == ["n=1", "n=2", "n=10", "r=6.50"]
    assert found[1][1].configurations.n_atoms == 6


def test_an_error_of_the_caller_is_not_blamed_on_the_file(path: Path) -> None:
    def stop_at_the_first() -> None:
        for _ in clusters(path):
            raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        stop_at_the_first()


def test_origin_of_an_md_cluster_leads_back_to_step_and_model(path: Path) -> None:
    origin = origin_of(path, PAIR, 3)
    assert origin.section == MD.group
    assert origin.molecule_indices == (1, 0)
    assert origin.translations == tuple(map(tuple, MD.molecules.clusters[0].cluster.translations.tolist()))
    assert (origin.source["md_step"], origin.source["time (fs)"], origin.source["frame"]) == (500, 500.0, 3)
    assert origin.source["target_temperature (K)"] == 298.15
    assert origin.provenance[f"{MD.group}/trajectory"]["model_sha256"] == "ff" * 32
    assert origin.provenance[PAIR]["input_uuids"] == ["c", "Γ"]
    assert origin.provenance[""]["structure_uuid"] == "0123"


def test_origin_of_a_phonon_cluster_leads_back_to_the_mode_and_its_force_constants(path: Path) -> None:
    origin = origin_of(path, f"/{MODE_PAIR}/", 2)
    assert (origin.source["mode"], origin.source["q_index"], origin.source["q_point"]) == (5, 0, [0.0, 0.0, 0.0])
    assert origin.source["amplitude (sigma)"] == PH.molecules.frames.origin["amplitude"][2]
    assert (origin.source["statistics"], origin.source["T (K)"]) == ("quantum", 298.15)
    assert (origin.n_molecules, origin.n_repeated_molecules) == (2, 1)
    assert origin.provenance[PH.force_constants_key] == {"node_uuid": "dd44"}
    assert origin.provenance[f"{PH.group}/molecular_crystal/supercell"] == {"node_uuid": "ff66"}


def test_origin_of_a_periodic_frame(path: Path) -> None:
    origin = origin_of(path, f"{MD.group}/trajectory", 0)
    assert origin.source["md_step"] == 200
    assert origin.molecule_indices == ()


@pytest.mark.parametrize("frame", [-1, 4])
def test_frames_that_do_not_exist_are_named(path: Path, frame: int) -> None:
    with pytest.raises(InvalidSettings, match="4 frames"):
        origin_of(path, PAIR, frame)


@pytest.mark.parametrize("entry", [f"{MD.group}/finite_subsystems/n=3", "nothing", "", "training"])
def test_entries_that_do_not_exist_get_the_nearest_one(path: Path, entry: str) -> None:
    with pytest.raises(InvalidSettings, match="did you mean"):
        origin_of(path, entry, 0)


READERS = [
    read_dataset,
    validate,
    list_groups,
    lambda path: list(clusters(path)),
    lambda path: origin_of(path, PAIR, 0),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.3, 0.7, 0.99, -1])
def test_truncated_files_are_refused_by_every_reader(path: Path, tmp_path: Path, reader, kept: float) -> None:
    content = path.read_bytes()
    length = len(content) + kept if kept < 0 else kept * len(content)
    (tmp_path / "cut").write_bytes(content[: int(length)])
    with pytest.raises(UnreadableFile) as caught:
        reader(tmp_path / "cut")
    assert "\n" not in caught.value.message
    assert "cut" in caught.value.message


def test_a_file_that_is_missing_a_folder_or_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("positions, forces\n" * 100)
    with pytest.raises(UnreadableFile, match="not an HDF5 file"):
        read_dataset(tmp_path / "text")
    for name in ("missing", "."):
        with pytest.raises(UnreadableFile, match="does not exist or is not a file"):
            read_dataset(tmp_path / name)


def test_an_hdf5_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other", "w") as file:
        file.create_group("particles/all")
    with pytest.raises(UnreadableFile, match="not a dataset of aiida-mbetrain"):
        list_groups(tmp_path / "other")


def test_a_newer_schema_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "new", "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(UnreadableFile, match="schema_version 99"):
        read_dataset(tmp_path / "new")


@pytest.mark.parametrize("missing", [f"{MD.group}/trajectory", f"{PAIR}/cluster_of_molecules", f"{PH.group}/modes"])
def test_a_missing_group_is_noticed(path: Path, tmp_path: Path, missing: str) -> None:
    (tmp_path / "holes").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "holes", "r+") as file:
        del file[missing]
    with pytest.raises(UnreadableFile, match="damaged or was edited"):
        validate(tmp_path / "holes")
    with pytest.raises(UnreadableFile, match="incomplete"):
        read_dataset(tmp_path / "holes", verify=False)


def test_one_changed_number_is_noticed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "edited").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "edited", "r+") as file:
        file[f"{PAIR}/cluster_of_molecules/atomic_numbers"][0] = 7
    with pytest.raises(UnreadableFile, match="damaged or was edited"):
        validate(tmp_path / "edited")


def test_no_damaged_byte_gets_past_validation(path: Path, tmp_path: Path) -> None:
    """Blocks of ones at places all over the file: refused, or harmless because the file still says the same."""
    content = path.read_bytes()
    expected = read_dataset(path)
    noticed = 0
    for start in np.linspace(0, len(content) - 16, 40).astype(int):
        (tmp_path / "damaged").write_bytes(content[:start] + b"\xff" * 16 + content[start + 16 :])
        try:
            read = read_dataset(tmp_path / "damaged")
        except UnreadableFile:
            noticed += 1
        else:
            without = [replace(section, provenance={}) for section in read.sections]
            assert differences(without, [replace(section, provenance={}) for section in expected.sections]) == []
    assert noticed > 20
