"""The dataset at a glance: headline, crystal, model, contents."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.formula import Formula
from ase.geometry import cell_to_cellpar

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.html import Markup, element, escaped, formula, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.tables import bytes_text, cards, facts, table

G_PER_CM3 = 1.66053906660
"""u/Å³ in g/cm³."""


def headline(source: Source) -> tuple[str, Markup, Markup]:
    """Title, heading and subtitle of the page."""
    given = source.root.provenance.get("crystal_formula")
    crystal = str(given) if given else _formula_of_any(source) or "Dataset"
    model = source.stated("potential_name")
    clusters = sum(n for _, n, system in _contents(source) if system != "crystal")
    parts = [f"model {model}" if model else None, f"{clusters:,} clusters" if clusters else None, source.short_name]
    subtitle = escaped(" · ".join(part for part in parts if part))
    return f"{crystal}: training set", join(formula(crystal), ": training set"), subtitle


def _formula_of_any(source: Source) -> str:
    for _, group in source.root.walk():
        if names.ATOMIC_NUMBERS in group.datasets and group.attributes.get(names.PERIODIC):
            return _formula(group.array(names.ATOMIC_NUMBERS))
    return ""


def _formula(numbers: np.ndarray) -> str:
    from ase.symbols import Symbols

    return str(Formula(Symbols(numbers).get_chemical_formula("hill")))


def overview_section(source: Source) -> Section:
    """Cards of crystal, model and contents."""
    return Section(
        "overview", "Crystal, model, contents", cards(*_crystal(source), *_model(source), _contents_card(source))
    )


def _crystal(source: Source) -> list[Markup]:
    """Each crystal with force constants or a relaxed structure; the supercell of dynamics where there is none."""
    rows: dict[str, object] = {}
    given = source.root.provenance.get("crystal_formula")
    if given:
        rows["formula of the input"] = formula(str(given))
    for _, section in source.sections("quasi_harmonic"):
        for label, item in list(section.groups.get(names.STRUCTURES, Group()).groups.items())[:1]:
            rows |= _cell_facts(item, f"relaxed, {label}")
        for item in list(section.groups.get(names.PHONONS, Group()).groups.values())[:1]:
            if names.FORCE_CONSTANTS_GROUP in item:
                rows["space group"] = item[names.FORCE_CONSTANTS_GROUP].attributes[names.SPACE_GROUP]
    for _, section in (*source.sections("md_sampling"), *source.sections("phonon_sampling")):
        if names.MOLECULAR_CRYSTAL in section:
            crystal = section[names.MOLECULAR_CRYSTAL]
            rows["molecules per supercell"] = crystal.attributes[names.N_MOLECULES]
            rows["identical molecules"] = "yes" if crystal.attributes[names.IDENTICAL_COMPOSITION] else "no"
            rows["atoms per supercell"] = crystal[names.REFERENCE].attributes[names.N_ATOMS]
            break
    return [facts("Crystal", rows)] if rows else []


def _cell_facts(structure: Group, label: str) -> dict[str, object]:
    cell = structure.array(names.CELL_VECTORS).reshape(-1, 3, 3)[0]
    lengths = cell_to_cellpar(cell)
    volume = abs(float(np.linalg.det(cell)))
    return {
        "structure": label,
        "a, b, c": ", ".join(f"{value:.3f}" for value in lengths[:3]) + " Å",
        "α, β, γ": ", ".join(f"{value:.2f}" for value in lengths[3:]) + "°",
        "volume": f"{volume:.2f} Å³ of {structure.attributes[names.N_ATOMS]} atoms",
        "density": f"{float(structure.array(names.MASSES).sum()) / volume * G_PER_CM3:.4f} g/cm³",
    }


MODEL_FACTS: Mapping[str, str] = {
    "potential_name": "name",
    "potential_sha256": "sha256",
    "potential_elements": "elements",
    "potential_r_max": "cutoff (Å)",
    "potential_num_interactions": "message passes",
    "potential_dtype": "precision",
    "potential_head": "head",
    "potential_device_name": "device",
    "potential_mace_version": "mace-torch",
    "potential_torch_version": "torch",
}


def _model(source: Source) -> list[Markup]:
    rows = {title: source.stated(name) for name, title in MODEL_FACTS.items()}
    if rows["sha256"] is None:
        rows["sha256"] = source.stated("model_sha256")
    known = {title: value for title, value in rows.items() if value is not None}
    return [facts("Model", known)] if known else []


def _contents(source: Source) -> list[tuple[str, int, str]]:
    """Source, number of configurations and system, of frames and of every cluster set."""
    found: list[tuple[str, int, str]] = []
    for kind, name in (("md_sampling", "dynamics"), ("phonon_sampling", "phonons")):
        for _, section in source.sections(kind):
            for place in (names.TRAJECTORY, names.FRAMES, f"{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}"):
                if place in section:
                    found.append((name, int(section[place].attributes[names.N_FRAMES]), "crystal"))  # type: ignore[arg-type]
                    break
            for key, item in section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups.items():
                structure = item[names.CLUSTER_OF_MOLECULES]
                found.append((name, int(structure.attributes[names.N_FRAMES]), key.partition(",")[0]))  # type: ignore[arg-type]
    return found


def _contents_card(source: Source) -> Markup:
    """Configurations by system and source; sets of one size together."""
    counts: dict[str, dict[str, int]] = {}
    for name, n, system in _contents(source):
        row = counts.setdefault(system, {})
        row[name] = row.get(name, 0) + n
    columns = [name for name in ("dynamics", "phonons") if any(name in row for row in counts.values())]
    order = sorted(counts, key=lambda system: (system != "crystal", _size_of(system)))
    rows = [[system, *[f"{counts[system].get(name, 0):,}" for name in columns]] for system in order]
    size = element("p", f"{source.short_name}, {bytes_text(source.file_bytes)}") if source.file_bytes else None
    if not rows:
        return element("div", element("h3", "Contents"), element("p", "No configurations."), size, class_="card")
    listing = table(["system", *columns], rows, caption="Configurations by system and source")
    return element("div", element("h3", "Contents"), listing, size, class_="card")


def _size_of(system: str) -> float:
    value = system.partition("=")[2]
    return float(value) if value else 0.0
