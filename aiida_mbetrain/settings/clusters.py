"""Detection of molecules and selection of clusters."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from aiida_mbetrain.settings.base import Count, Floats, Integers, Seed, Settings

NUMBER_RULES = ("closest_to_center_of_mass", "closest_to_central_molecule", "closest_contact_to_central_molecule")


DISTANCE_RULES = ("max_min_distance_to_central_molecule", "max_max_distance_to_central_molecule")


class FiniteSubsystemFilter(Settings):
    """Selection of the clusters cut from a periodic frame."""

    selection_rule: Literal[
        "closest_to_center_of_mass",
        "closest_to_central_molecule",
        "closest_contact_to_central_molecule",
        "max_min_distance_to_central_molecule",
        "max_max_distance_to_central_molecule",
    ] = Field("closest_to_central_molecule", description="Rule for selecting molecules.")
    n_molecules: Integers | None = Field(
        (1, 2, 3, 4, 5, 6, 7, 8), description="Cluster sizes; used with the rules that count molecules."
    )
    distances: Floats | None = Field(
        None, description="Cutoff distances (Å); used with the rules that measure distances."
    )
    assert_identical_composition: bool = Field(
        True, description="Refuse a crystal whose molecules differ in composition."
    )
    bond_tolerance: Annotated[float, Field(gt=0, le=100)] = Field(
        1.25, description="Atoms closer than this times the sum of their covalent radii are bonded."
    )
    bond_check_tolerance: Annotated[float, Field(gt=0, le=100)] = Field(
        1.5, description="In a frame, a bond longer than this times the sum of covalent radii is broken."
    )
    broken_molecules: Literal["drop", "keep", "refuse"] = Field(
        "drop", description="What to do with frames whose bond graph differs from the reference."
    )
    clusters_per_size: Count = Field(
        1,
        description="Clusters for every size or distance: the rule's own, then as many as there are up to this "
        "number, around many central molecules, balanced over symmetry orbits and distances.",
    )
    unique_only: bool = Field(
        False, description="At most one cluster of each symmetry orbit; with clusters_per_size above 1."
    )
    n_candidates: Count = Field(
        18,
        description="Further clusters take their molecules from this many nearest to their central one, shells of "
        "equal distance whole.",
    )
    rng_seed: Seed = Field(42, description="Seed of the further clusters.")
    symmetry_tolerance: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-2, description="Tolerance for the space group that decides which clusters are equivalent (Å)."
    )

    @property
    def counts_molecules(self) -> bool:
        """True for the rules that take ``n_molecules``, False for those that take ``distances``."""
        return self.selection_rule in NUMBER_RULES

    @field_validator("n_molecules")
    @classmethod
    def _sizes(cls, sizes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if sizes is not None and (not sizes or min(sizes) < 1 or len(set(sizes)) != len(sizes)):
            raise ValueError("give distinct numbers of molecules, each at least 1")
        return None if sizes is None else tuple(sorted(sizes))

    @field_validator("distances")
    @classmethod
    def _cutoffs(cls, distances: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if distances is None:
            return None
        if not distances or not all(0 < d <= 1e4 for d in distances):
            raise ValueError("give distances above 0 Å, at most 1e4 Å")
        if len({f"{d:.2f}" for d in distances}) != len(distances):
            raise ValueError("distances must differ in the first two decimals: they name the groups r=D.DD")
        return tuple(sorted(distances))

    def _check(self) -> None:
        if self.counts_molecules and self.n_molecules is None:
            raise ValueError(f"selection_rule = {self.selection_rule!r} needs n_molecules")
        if self.counts_molecules and self.distances is not None:
            raise ValueError(f"selection_rule = {self.selection_rule!r} takes n_molecules, not distances")
        if not self.counts_molecules and self.distances is None:
            raise ValueError(f"selection_rule = {self.selection_rule!r} needs distances (Å)")
        if self.bond_check_tolerance < self.bond_tolerance:
            raise ValueError(
                f"bond_check_tolerance = {self.bond_check_tolerance} must not be below "
                f"bond_tolerance = {self.bond_tolerance}"
            )
