"""Verdicts on a dataset: passed or not, the numbers behind it, and the remedy.

Everything comes from the dataset alone, so that a file without its profile can be judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import verified
from aiida_mbetrain.datasets.inspection.coverage import feature_coverage
from aiida_mbetrain.datasets.inspection.dynamics import dynamics_verdicts
from aiida_mbetrain.datasets.inspection.queries import sections_of
from aiida_mbetrain.datasets.inspection.verdict import Verdict
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.tree import Facts, Group
from aiida_mbetrain.settings import JsonObject

__all__ = ["Verdict", "verdicts", "verdicts_of_tree"]

MAX_FORCE_EV_PER_A = 1e-4
"""Residual force that a relaxation may leave where its settings are not in the file; the default of the settings."""
MAX_PRESSURE_GPA = 0.05
"""Deviation from the external pressure of a fully relaxed cell; smaller ones change volumes by less than 1 percent
of molecular crystals with bulk moduli above 5 GPa."""
GPA = 160.21766208
"""eV/Å³ in GPa."""
SMALLEST_COVERAGE = 0.5
"""Part of the clusters of one source that should have clusters of the other nearby."""


def verdicts(source: Dataset | str | Path) -> list[Verdict]:
    """Verdicts on a dataset or its file, in the order of the run.  Raises UnreadableFile."""
    if isinstance(source, Dataset):
        return verdicts_of_tree(from_dataset(source))
    with verified(source) as root:
        return verdicts_of_tree(root)


def verdicts_of_tree(root: Group) -> list[Verdict]:
    """Verdicts on the tree of a file."""
    found: list[Verdict] = []
    order = ("md_sampling", "quasi_harmonic", "phonon_sampling")
    sections = sorted(sections_of(root), key=lambda item: order.index(str(item[1].attributes[names.SECTION])))
    for path, section in sections:
        kind = section.attributes[names.SECTION]
        if kind == "md_sampling":
            found += dynamics_verdicts(path, section)
        elif kind == "quasi_harmonic":
            found += _quasi_harmonic(path, section)
        else:
            found += _phonons(path, section)
    clusters = [verdict for path, section in sections for verdict in _molecules(path, section)]
    return [*found, *clusters, *_coverage(sections)]


def settings_of(section: Group) -> JsonObject:
    """Settings of a section's stage; empty where the file does not have them."""
    text = section.provenance.get("settings")
    return json.loads(text) if isinstance(text, str) else {}


def _quasi_harmonic(path: str, section: Group) -> Iterator[Verdict]:
    settings = settings_of(section)
    yield from _residuals(path, section, settings)
    yield from _real_frequencies(path, section, settings)
    yield from _complete_sums(path, section)
    yield from _bracketed(path, section)


def _residuals(path: str, section: Group, settings: JsonObject) -> Iterator[Verdict]:
    allowed = float(settings.get("max_force_on_atom", MAX_FORCE_EV_PER_A))
    structures = section.groups.get(names.STRUCTURES, Group()).groups
    forces = {
        label: float(np.linalg.norm(item.array(names.FORCES), axis=-1).max(initial=0.0))
        for label, item in structures.items()
        if names.FORCES in item.datasets
    }
    if forces:
        label, largest = max(forces.items(), key=lambda item: item[1])
        yield Verdict(
            name="Residual force",
            passed=largest <= allowed * 1.001,
            value=f"largest force {largest:.1e} eV/Å after relaxation ({label}); allowed {allowed:.0e} eV/Å",
            advice="Raise max_n_steps or lower max_force_on_atom: phonons belong to a minimum of the energy.",
            section=path,
        )
    yield from _residual_stress(path, structures, float(settings.get("pressure_GPa", 0.0)))


def _residual_stress(path: str, structures: Mapping[str, Group], target: float) -> Iterator[Verdict]:
    """Stress of the components that were relaxed; crystals with other names are strained on purpose."""
    for label, text in (("crystal[opt:atoms,shape,V]", "full relaxation"), ("crystal[opt:atoms,shape]", "relaxation")):
        if label not in structures or names.STRESS not in structures[label].datasets:
            continue
        stress = -GPA * structures[label].array(names.STRESS).reshape(-1, 3, 3)[0]
        pressure = float(np.trace(stress)) / 3
        deviatoric = float(np.abs(stress - pressure * np.eye(3)).max())
        shear = f"deviatoric stress {deviatoric:.3f} GPa"
        if text == "full relaxation":
            off = max(abs(pressure - target), deviatoric)
            value = f"pressure {pressure:.3f} GPa and {shear} after {text}, external pressure {target:g} GPa"
        else:
            off, value = deviatoric, f"{shear} after {text} at constant volume, whose pressure is {pressure:.3f} GPa"
        yield Verdict(
            name="Residual stress",
            passed=off <= MAX_PRESSURE_GPA,
            value=value,
            advice="Lower max_force_on_atom or raise max_n_steps: the cell is not yet relaxed.",
            section=path,
        )


def _real_frequencies(path: str, section: Group, settings: JsonObject) -> Iterator[Verdict]:
    tables = [section[name] for name in (names.THERMODYNAMICS_FIXED_VOLUME,) if name in section]
    threshold = float(settings.get("imaginary_mode_threshold", -0.1))
    for table in tables:
        if not {names.ACOUSTIC_FREQS_REAL, names.OPTICAL_FREQS_REAL} <= set(table.datasets):
            continue
        real = bool(table.array(names.ACOUSTIC_FREQS_REAL).all() and table.array(names.OPTICAL_FREQS_REAL).all())
        lowest = {
            kind: float(np.nanmin(table.array(name)))
            for kind, name in (("acoustic", names.ACOUSTIC_FREQ_MIN), ("optical", names.OPTICAL_FREQ_MIN))
            if name in table.datasets and np.isfinite(table.array(name)).any()
        }
        text = ", ".join(f"lowest {kind} frequency {value:.3f} THz" for kind, value in lowest.items())
        yield Verdict(
            name="Frequencies on the mesh",
            passed=real,
            value=text or f"above {threshold:g} THz" if real else text or f"some below {threshold:g} THz",
            advice="Relax more tightly (max_force_on_atom), enlarge supercell_radius, or relax the cell: the "
            "structure is not a minimum of the model's energy.",
            section=path,
        )


def _complete_sums(path: str, section: Group) -> Iterator[Verdict]:
    worst = 0, 0, ""
    for name in (names.THERMODYNAMICS_FIXED_VOLUME, names.EOS_SAMPLED, names.THERMODYNAMICS_EQUILIBRIUM_VOLUME):
        table = section.groups.get(name, Group())
        if names.N_LEFT_OUT_MODES not in table.datasets:
            continue
        left_out = table.array(names.N_LEFT_OUT_MODES)
        if names.USED_IN_FIT in table.datasets:
            left_out = np.where(table.array(names.USED_IN_FIT), left_out, 0)
        row = int(np.argmax(left_out))
        label = str(np.asarray(table.array(names.SYSTEM_LABEL_CRYSTAL)).astype(str)[row])
        worst = max(worst, (int(left_out[row]), int(table.array(names.N_MODES)[row]), label))
    n_left_out, n_modes, label = worst
    if n_modes:
        yield Verdict(
            name="Modes left out of the free energy",
            passed=n_left_out == 0,
            value=f"{n_left_out} of {n_modes} modes on the mesh of {label}"
            if n_left_out
            else "every mode on the mesh is real",
            advice="Relax more tightly (max_force_on_atom), enlarge supercell_radius, or leave such volumes out "
            "(filter_out_left_out_acoustic, filter_out_left_out_optical): a mode at or below 0 THz enters no sum.",
            section=path,
        )


def _bracketed(path: str, section: Group) -> Iterator[Verdict]:
    if names.EOS_INTERPOLATED not in section:
        return
    curves = section[names.EOS_INTERPOLATED]
    temperatures, volumes = curves.array(names.T_COLUMN), curves.array(names.V_MIN)
    missing = temperatures[~np.isfinite(volumes)]
    total = len(temperatures)
    yield Verdict(
        name="Minimum of the free energy",
        passed=len(missing) == 0,
        value=f"found at {total - len(missing)} of {total} temperatures"
        + (f"; none at {', '.join(f'{t:g} K' for t in missing[:5])}" if len(missing) else ""),
        advice="Widen volume_range (or pressure_range) towards larger volumes.",
        section=path,
    )


def _phonons(path: str, section: Group) -> Iterator[Verdict]:
    facts: Facts = section.attributes
    n_modes = len(section[names.MODES].array(names.FREQUENCY))
    imaginary, below = int(facts["n_imaginary"]), int(facts["n_below_window"])
    yield Verdict(
        name="Imaginary modes",
        passed=imaginary == 0,
        value=f"{imaginary} imaginary, {n_modes} sampled",
        advice="Relax the crystal more tightly, or sample at a volume where all modes are real: an imaginary mode has "
        "no thermal amplitude and is left out.",
        section=path,
    )
    low = settings_of(section).get("phonon_filter", {}).get("freq_min_THz")
    window = "" if low is None else f" of {low:g} THz"
    yield Verdict(
        name="Modes left out",
        passed=below == 0,
        value=f"{below} below the window's lower end{window}",
        advice="Lower freq_min_THz: soft modes have the largest amplitudes.",
        section=path,
    )
    repeated = int(facts["n_repeated_frames"])
    yield Verdict(
        name="Repeated frames",
        passed=repeated == 0,
        value=f"{repeated} repeat an earlier one",
        advice="Choose a time_step_fs that is no fraction of a sampled period, or amplitude_scan: thermal.",
        section=path,
    )


def _molecules(path: str, section: Group) -> Iterator[Verdict]:
    subsystems = section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups
    if not subsystems:
        return
    repeated = [key for key in subsystems if int(subsystems[key].attributes[names.N_REPEATED_MOLECULES]) > 0]  # type: ignore[arg-type]
    yield Verdict(
        name="Repeated molecules",
        passed=not repeated,
        value=f"{len(repeated)} of {len(subsystems)} clusters contain a molecule and its periodic image"
        + (f": {_some(repeated)}" if repeated else ""),
        advice="Enlarge supercell_radius: a molecule and its image move together, which no crystal does.",
        section=path,
    )
    broken = _broken_frames(section)
    kept, frames = _kept_frames(section)
    dropped = frames - kept
    yield Verdict(
        name="Broken molecules",
        passed=broken == 0 and dropped == 0,
        value=f"{broken} of {kept} frames with changed bonds" + (f", {dropped} more left out" if dropped else ""),
        advice="Look at these frames: lower the temperature or time_step_fs, or train the model on such geometries; "
        "bond_check_tolerance decides when a bond counts as broken.",
        section=path,
    )


def _broken_frames(section: Group) -> int:
    """Frames of the section in which the bonds of at least one cluster differ from the reference."""
    broken: set[int] = set()
    for item in section[names.FINITE_SUBSYSTEMS].groups.values():
        origin = item[names.CLUSTER_OF_MOLECULES].groups.get(names.ORIGIN, Group())
        if "intact" in origin.datasets:
            at = np.flatnonzero(~origin.array("intact").astype(bool))
            frames = origin.array("frame") if "frame" in origin.datasets else np.arange(len(at))
            broken |= set(frames[at].tolist())
    return len(broken)


def _kept_frames(section: Group) -> tuple[int, int]:
    """Frames that any cluster was cut from, and frames of the section."""
    cut: set[int] = set()
    for item in section[names.FINITE_SUBSYSTEMS].groups.values():
        structure = item[names.CLUSTER_OF_MOLECULES]
        origin = structure.groups.get(names.ORIGIN, Group())
        count = int(structure.attributes[names.N_FRAMES])  # type: ignore[arg-type]
        cut |= set(origin.array("frame").tolist() if "frame" in origin.datasets else range(count))
    supercell = section[f"{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}"].attributes
    return len(cut), max(int(supercell[names.N_FRAMES]), len(cut))  # type: ignore[arg-type]


def _coverage(sections: list[tuple[str, Group]]) -> Iterator[Verdict]:
    """Overlap of dynamics and phonons in feature space."""
    md = [section for _, section in sections if section.attributes[names.SECTION] == "md_sampling"]
    phonons = [section for _, section in sections if section.attributes[names.SECTION] == "phonon_sampling"]
    shares = feature_coverage(md, phonons)
    if shares is None:
        return
    by_md, by_phonons = shares
    yield Verdict(
        name="Coverage",
        passed=min(by_md, by_phonons) >= SMALLEST_COVERAGE,
        value=f"{by_md:.0%} of the clusters from phonons have clusters from dynamics nearby in feature space, "
        f"{by_phonons:.0%} the other way round",
        advice="The sources sample different regions. Compare their volumes and temperatures; sample phonons at the "
        "volume of the dynamics (thermal_expansion and force_constants_key), superpose modes (modes: all), or "
        "lengthen the dynamics.",
        section="",
    )


def _some(items: list[str], most: int = 4) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
