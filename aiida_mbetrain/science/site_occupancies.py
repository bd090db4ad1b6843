"""Refusal of crystallographic sites that are shared, partially occupied or of unknown occupancy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ase import Atoms

from aiida_mbetrain.errors import InvalidStructure

REMEDY = "make an ordered structure of it, with one atom of occupancy 1 on every occupied site"


def require_full_occupancy(site: str, occupancy: object) -> None:
    """Raise InvalidStructure, naming the site, unless its occupancy is exactly 1 or the default (``.``)."""
    if occupancy == "." or (isinstance(occupancy, int | float) and occupancy == 1):
        return
    if isinstance(occupancy, int | float):
        raise InvalidStructure(f"The site {site} has the occupancy {occupancy:g}: {REMEDY}.")
    raise InvalidStructure(
        f"The site {site} has the unknown occupancy {occupancy!r}: where it is fully occupied write 1, else {REMEDY}."
    )


def require_ordered_sites(labels: Sequence[str], occupancies: object) -> None:
    """Check the occupancies of the sites of a file, one for each label.  Raises InvalidStructure."""
    values = occupancies if isinstance(occupancies, list) else [occupancies] * len(labels)
    for label, value in zip(labels, values, strict=True):
        require_full_occupancy(label, value)


def require_ordered_atoms(atoms: Atoms) -> None:
    """Check what ASE keeps of occupancies in ``atoms.info["occupancy"]``.  Raises InvalidStructure."""
    known: object = atoms.info.get("occupancy")
    if not isinstance(known, Mapping):
        return
    for site, species in known.items():
        if not isinstance(species, Mapping) or len(species) != 1:
            shared = ", ".join(f"{symbol} {value}" for symbol, value in dict(species).items())
            raise InvalidStructure(f"The site {site} (counted from 0) is shared by {shared}: {REMEDY}.")
        for symbol, value in species.items():
            require_full_occupancy(f"{site} (counted from 0, {symbol})", value)
