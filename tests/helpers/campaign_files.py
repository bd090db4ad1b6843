"""A small campaign of argon at some lattice constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from argon import LENNARD_JONES, argon_settings
from ase.build import bulk


def write_argon(folder: Path, *lattice_constants: float) -> None:
    """``ar_526.cif`` ..., fcc argon, one atom per cell."""
    folder.mkdir(parents=True, exist_ok=True)
    for a in lattice_constants:
        bulk("Ar", "fcc", a=a).write(folder / f"ar_{round(100 * a)}.cif")


def argon_campaign(**changes: Any) -> dict[str, Any]:
    """The content of a campaign file: the crystals of the folder ``crystals`` at 20 and 30 K, 2 pressures."""
    settings = argon_settings(md_sampling={"md_crystal": {"ensemble": "NPT"}})
    for section in ("md_sampling", "phonon_sampling"):
        del settings[section]["temperature_K"]
    campaign = {
        "name": "argon",
        "crystals": ["crystals"],
        "models": {"lj": LENNARD_JONES},
        "temperatures_K": [20.0, 30.0],
        "pressures_GPa": [0.0001, 0.01],
        "protocol": "fast",
        "overrides": settings,
    }
    return campaign | changes
