"""Extended XYZ: what MACE's own loader reads, uids, E0s, labels from elsewhere, refusals."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.io import read, write
from dataset_examples import full_dataset, md_section
from mace_loader import load_file, load_folder

from aiida_mbetrain.datasets.hdf5 import read_dataset, write_dataset
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.training import (
    Split,
    entries_of,
    extxyz,
    read_labels,
    require_elements,
    select_sections,
    undetermined,
    with_labels,
    write_training_files,
    write_unlabelled,
)
from aiida_mbetrain.datasets.training.external_labels import target_minus_baseline
from aiida_mbetrain.datasets.training.reference_energies import fit_e0s, read_e0s
from aiida_mbetrain.errors import InvalidSettings, MbetrainError, UnreadableFile, UnwritableOutput

DATASET = full_dataset()
E0S = {1: -13.5, 6: -1029.25, 8: -2042.125, 18: -14000.5}
ALL = Split((1.0, 0.0, 0.0))


def test_mace_loads_energies_forces_stress_and_isolated_atoms(tmp_path: Path) -> None:
    entries = entries_of(DATASET)
    write_training_files(tmp_path, entries, E0S, split=ALL)
    e0s, configurations = load_file(tmp_path / "train.xyz")
    assert e0s == E0S
    assert len(configurations) == sum(len(entry.configurations) for entry in entries)
    frame = iter(configurations)
    for entry in entries:
        known = entry.configurations
        for row in range(len(known)):
            loaded = next(frame)
            assert loaded.config_type == entry.config_type
            assert loaded.atomic_numbers.tolist() == known.numbers.tolist()
            assert loaded.properties["energy"] == known.energies[row]
            assert np.allclose(loaded.properties["forces"], known.forces[row], rtol=0, atol=1e-8)
            assert np.allclose(loaded.positions, known.positions[row], rtol=0, atol=1e-8)
            assert all(loaded.pbc) == known.periodic
            if known.periodic:
                assert np.allclose(loaded.cell, known.cells[row], rtol=0, atol=1e-8)
                assert np.allclose(loaded.properties["stress"], known.stress[row], rtol=0, atol=1e-10)
            else:
                assert loaded.property_weights["stress"] == 0


def test_config_types_name_source_and_size() -> None:
    assert {entry.config_type for entry in entries_of(DATASET)} == {
        "md_n_1", "md_n_2", "md_n_10", "md_crystal", "phonon_crystal", "phonon_r_6_50",
    }  # fmt: skip


def test_the_head_is_on_every_frame_and_on_the_atoms(tmp_path: Path) -> None:
    write_training_files(tmp_path, entries_of(DATASET), E0S, split=ALL, head="dft")
    assert {atoms.info["head"] for atoms in read(tmp_path / "train.xyz", index=":")} == {"dft"}


@pytest.mark.parametrize("head", [None, "dft", "r2scan D4's"])
@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.34, 0.33, 0.33)])
def test_mace_run_train_reads_every_frame_of_every_subset_under_its_head(tmp_path: Path, head, shares) -> None:
    written = write_training_files(tmp_path, entries_of(DATASET), E0S, split=Split(shares, gap=0), head=head)
    [(name, loaded)] = load_folder(tmp_path).items()
    assert name == (head or "Default")
    assert {configuration.head for configuration in loaded.everything} == {name}
    assert len(loaded.everything) == sum(written.n_frames.values())
    if shares[1]:
        assert {f"{subset}.xyz": len(frames) for subset, frames in loaded.subsets.items()} == written.n_frames
    assert loaded.e0s == E0S


def test_uids_differ_and_are_the_same_from_a_file(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.hdf5", DATASET)
    uids = [uid for entry in entries_of(DATASET) for uid in entry.uids]
    assert len(set(uids)) == len(uids)
    assert [uid for entry in entries_of(read_dataset(tmp_path / "a.hdf5")) for uid in entry.uids] == uids


def test_uids_do_not_depend_on_what_else_is_in_the_file(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.hdf5", select_sections(DATASET, sources=["md"], sizes=[2], features=False))
    (some,) = entries_of(read_dataset(tmp_path / "a.hdf5"), sizes=[2])
    (all_of,) = entries_of(DATASET, sources=["md"], sizes=[2])
    assert some.uids == all_of.uids


def test_uids_are_read_back_as_text(tmp_path: Path) -> None:
    write_unlabelled(tmp_path, entries_of(DATASET))
    frames = read(tmp_path / "configurations.xyz", index=":")
    assert all(isinstance(atoms.info["uid"], str) for atoms in frames)
    assert not any(key.startswith("REF_") for atoms in frames for key in [*atoms.info, *atoms.arrays])


def test_memory_does_not_grow_with_the_frames(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(extxyz, "FRAMES_AT_ONCE", 10)
    [entry] = entries_of(DATASET, sources=["md"], sizes=[0])
    peaks = {}
    for n_frames in (100, 300):
        pick = np.arange(n_frames) % len(entry.rows)
        lineage = replace(entry.lineage, n_units=n_frames, unit_of_frame=np.arange(n_frames))
        many = replace(entry.select(pick), lineage=lineage, parents=np.arange(n_frames), rows=np.arange(n_frames))
        tracemalloc.start()
        written = write_training_files(tmp_path, [many], E0S, split=Split((0.8, 0.1, 0.1), gap=0))
        peaks[n_frames] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(written.n_frames.values()) == n_frames
    assert peaks[300] < peaks[100] + 200 * 1000, "a frame takes 5 kB"


def test_frames_that_cannot_be_made_leave_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "train.xyz"
    extxyz.write_frames(path, [Atoms("He")])
    before = path.read_bytes()

    def broken():
        yield Atoms("Ne")
        raise UnreadableFile("damaged")

    with pytest.raises(UnreadableFile):
        extxyz.write_frames(path, broken())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_train_yaml_has_the_e0s_and_the_files_that_are_there(tmp_path: Path) -> None:
    write_training_files(tmp_path, entries_of(DATASET), E0S, split=Split((0.6, 0.4, 0.0), gap=0))
    options = yaml.safe_load((tmp_path / "train.yaml").read_text())
    assert yaml.safe_load(options["E0s"]) == E0S
    assert (tmp_path / options["valid_file"]).is_file()
    assert "test_file" not in options
    assert not (tmp_path / "test.xyz").exists()


def test_a_second_export_leaves_no_file_of_the_first(tmp_path: Path) -> None:
    write_training_files(tmp_path, entries_of(DATASET), E0S, split=Split((0.34, 0.33, 0.33), gap=0))
    write_training_files(tmp_path, entries_of(DATASET), E0S, split=ALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.xyz", "train.yaml"]


def test_e0s_of_one_kind_of_molecule_are_not_determined() -> None:
    entries = entries_of(DATASET, sources=["phonons"], sizes=[2])  # two water molecules
    reason = undetermined(entries)
    assert reason is not None
    assert "all multiples of" in reason
    assert "1 of 2 dimensions (H, O)" in reason
    with pytest.raises(InvalidSettings, match="--e0s model"):
        fit_e0s(entries)


def test_e0s_of_enough_compositions_are_fitted() -> None:
    (water,) = entries_of(DATASET, sources=["md"], sizes=[1])
    frames = water.configurations
    energies = {(8, 1, 1): -2042.125 - 2 * 13.5, (8, 8, 1): -2 * 2042.125 - 13.5}
    entries = [
        replace(water, configurations=frames.with_(numbers=np.array(numbers), energies=np.full(len(frames), energy)))
        for numbers, energy in energies.items()
    ]
    assert undetermined(entries) is None
    assert fit_e0s(entries) == pytest.approx({1: -13.5, 8: -2042.125})


@pytest.mark.parametrize("text", ['{"C": -1029.25, "H": -13.5}', "6: -1029.25\n1: -13.5\n"])
def test_e0s_files_name_symbols_or_numbers(tmp_path: Path, text: str) -> None:
    (tmp_path / "e0s.json").write_text(text)
    assert read_e0s(tmp_path / "e0s.json") == {6: -1029.25, 1: -13.5}


@pytest.mark.parametrize("text", ["", "- 1\n- 2", "{Xx: 1.0}", "{C: minus one}", "{C: [1", "\x00"])
def test_foreign_e0s_files_are_refused_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "e0s.json").write_text(text)
    with pytest.raises(UnreadableFile, match=r"e0s\.json") as caught:
        read_e0s(tmp_path / "e0s.json")
    assert "\n" not in caught.value.message


def test_missing_e0s_are_named() -> None:
    with pytest.raises(InvalidSettings, match="also contain O"):
        require_elements({1: -13.5}, [1, 8], "E0s")


def test_entries_without_labels_are_refused(tmp_path: Path) -> None:
    (entry,) = entries_of(DATASET, sources=["md"], sizes=[2])
    bare = replace(entry, configurations=entry.configurations.with_(energies=None))
    with pytest.raises(InvalidSettings, match="no energies"):
        write_training_files(tmp_path, [bare], E0S, split=ALL)


@pytest.mark.parametrize("choice", [{"sources": ["dft"]}, {"sizes": [7]}, {"sources": ["phonons"], "sizes": [1]}])
def test_choices_that_leave_nothing_are_refused(choice: dict) -> None:
    with pytest.raises(InvalidSettings):
        entries_of(DATASET, **choice)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="cannot be made"):
        write_unlabelled(tmp_path / "file", entries_of(DATASET))


def labelled_elsewhere(folder: Path, *, shift: float = 0.0, key: str = "REF_") -> Path:
    """As a quantum-chemistry program would return them: energy 2, forces 3 in every frame, in reversed order."""
    write_unlabelled(folder, entries_of(DATASET))
    frames = read(folder / "configurations.xyz", index=":")[::-1]
    for atoms in frames:
        atoms.positions += shift * (len(atoms) > 1)
        atoms.info[f"{key}energy"] = 2.0 if len(atoms) > 1 else -float(atoms.numbers[0])
        atoms.arrays[f"{key}forces"] = np.full((len(atoms), 3), 3.0)
    write(folder / "labelled.xyz", frames, format="extxyz")
    return folder / "labelled.xyz"


def test_labels_come_back_to_their_frames_by_uid(tmp_path: Path) -> None:
    labels = read_labels(labelled_elsewhere(tmp_path))
    entries = entries_of(DATASET)
    found = with_labels(entries, labels)
    assert [entry.path for entry in found] == [entry.path for entry in entries]
    assert [entry.uids for entry in found] == [entry.uids for entry in entries]
    assert all((entry.configurations.energies[:] == 2.0).all() for entry in found)
    assert labels.e0s == {1: -1.0, 6: -6.0, 8: -8.0, 18: -18.0}


def test_plain_keys_of_ase_are_understood(tmp_path: Path) -> None:
    assert len(read_labels(labelled_elsewhere(tmp_path, key="")).frames) == 28


def test_some_frames_may_be_missing_and_the_others_keep_their_uids(tmp_path: Path) -> None:
    labels = read_labels(labelled_elsewhere(tmp_path))
    (entry,) = entries_of(DATASET, sources=["md"], sizes=[2])
    some = {uid: labels.frames[uid] for uid in (entry.uids[1], entry.uids[3])}
    (found,) = with_labels([entry], replace(labels, frames=some))
    assert found.uids == [entry.uids[1], entry.uids[3]]
    assert found.parents.tolist() == [1, 3]


def test_delta_targets_are_target_minus_baseline(tmp_path: Path) -> None:
    labels = read_labels(labelled_elsewhere(tmp_path))
    (entry,) = entries_of(DATASET, sources=["md"], sizes=[2])
    some = {uid: labels.frames[uid] for uid in entry.uids[2:]}
    (found,) = with_labels([entry], replace(labels, frames=some))
    delta = target_minus_baseline(found, entry)
    assert np.array_equal(delta.configurations.energies, 2.0 - entry.configurations.energies[2:])
    assert np.array_equal(delta.configurations.forces, 3.0 - entry.configurations.forces[2:])
    assert delta.uids == entry.uids[2:]


def energy_only(path: Path, every: int = 2) -> Path:
    """The labels with every second frame, or all, stripped of forces."""
    frames = read(path, index=":")
    for atoms in frames[::every]:
        atoms.arrays.pop("REF_forces", None)
    write(path, frames, format="extxyz")
    return path


def test_energy_only_labels_are_entries_without_forces(tmp_path: Path) -> None:
    labels = read_labels(energy_only(labelled_elsewhere(tmp_path)))
    assert 0 < labels.n_energy_only < len(labels.frames) == 28
    found = with_labels(entries_of(DATASET), labels)
    without = [uid for entry in found if entry.configurations.forces is None for uid in entry.uids]
    assert sorted(without) == sorted(uid for uid, label in labels.frames.items() if label.forces is None)
    assert sorted(uid for entry in found for uid in entry.uids) == sorted(labels.frames)


def test_energy_only_labels_are_exported_with_force_weight_zero(tmp_path: Path) -> None:
    labels = read_labels(energy_only(labelled_elsewhere(tmp_path)))
    entries = with_labels(entries_of(DATASET), labels)
    write_training_files(tmp_path / "mace", entries, E0S, split=ALL)
    frames = [atoms for atoms in read(tmp_path / "mace" / "train.xyz", index=":") if len(atoms) > 1]
    _, loaded = load_file(tmp_path / "mace" / "train.xyz")
    by_energy_only = {True: 0, False: 0}
    for atoms, configuration in zip(frames, (one for one in loaded if len(one.atomic_numbers) > 1), strict=True):
        without = labels.frames[atoms.info["uid"]].forces is None
        by_energy_only[without] += 1
        assert ("REF_forces" in atoms.arrays) != without
        assert atoms.info.get("config_forces_weight") == (0.0 if without else None)
        assert configuration.property_weights["forces"] == (0.0 if without else 1.0)
        assert configuration.property_weights["energy"] == 1.0
    assert min(by_energy_only.values()) > 0


def test_delta_targets_of_energy_only_labels_have_no_forces(tmp_path: Path) -> None:
    labels = read_labels(energy_only(labelled_elsewhere(tmp_path), every=1))
    (entry,) = entries_of(DATASET, sources=["md"], sizes=[2])
    (found,) = with_labels([entry], replace(labels, frames={uid: labels.frames[uid] for uid in entry.uids}))
    delta = target_minus_baseline(found, entry)
    assert np.array_equal(delta.configurations.energies, 2.0 - entry.configurations.energies)
    assert delta.configurations.forces is None


def test_forces_key_that_no_frame_has_is_refused(tmp_path: Path) -> None:
    path = energy_only(labelled_elsewhere(tmp_path), every=1)
    with pytest.raises(UnreadableFile, match="no frame has dft"):
        read_labels(path, forces_key="dft")


def test_labels_of_another_dataset_are_refused(tmp_path: Path) -> None:
    labels = read_labels(labelled_elsewhere(tmp_path))
    with pytest.raises(InvalidSettings, match="28 of 28 uids"):
        with_labels(entries_of(full_dataset(seed=8)), labels)


def test_a_reoriented_molecule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="reorientation"):
        with_labels(entries_of(DATASET), read_labels(labelled_elsewhere(tmp_path, shift=0.01)))


def change(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [("uid=", "id=", "no uid"), ("REF_energy", "e", "no energy"), ("REF_forces", "dft_forces", "dft_forces: name it"),
     ("REF_energy=2.0", "REF_energy=nan", "energy is nan")],
)  # fmt: skip
def test_label_files_that_lack_something_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason) as caught:
        read_labels(change(labelled_elsewhere(tmp_path), old, new))
    assert "\n" not in caught.value.message


def test_truncated_and_foreign_label_files_are_refused(tmp_path: Path) -> None:
    path = labelled_elsewhere(tmp_path)
    text = path.read_text()
    for content in (text[: len(text) // 2 + 7], "", "hello", "\x89HDF\r\n"):
        path.write_text(content)
        with pytest.raises(UnreadableFile, match=r"labelled\.xyz") as caught:
            read_labels(path)
        assert "\n" not in caught.value.message
    with pytest.raises(MbetrainError, match="does not exist"):
        read_labels(tmp_path / "nothing.xyz")


def test_quasi_harmonic_structures_are_exported_on_request(tmp_path: Path) -> None:
    (entry,) = entries_of(DATASET, sources=["quasi_harmonic"])
    assert entry.config_type == "quasi_harmonic_crystal"


def test_a_dataset_without_clusters_has_its_crystal() -> None:
    section = md_section(np.random.default_rng(1), molecules=False)
    assert [entry.config_type for entry in entries_of(Dataset((section,)))] == ["md_crystal"]
