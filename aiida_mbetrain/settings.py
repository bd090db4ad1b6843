"""What a user may ask for: the settings of every stage, with their units in their names.

Class and field names, units and defaults follow the mbe-automation training-set workflow, so that its input
files carry over.  What is a node in AiiDA (the crystal, the model, the force constants) is not a setting.
All models are frozen, refuse unknown fields with the nearest known name, take numpy arrays and lists alike,
and survive ``Class(**settings.to_dict())`` without loss, also through a stored AiiDA ``Dict``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator

from aiida_mbetrain.settings_base import (
    Finite,
    Floats,
    Integers,
    Matrix,
    Mesh,
    NonNegative,
    Positive,
    QPoints,
    Seed,
    Settings,
    Window,
    as_list,
)

NUMBER_RULES = ("closest_to_center_of_mass", "closest_to_central_molecule", "closest_contact_to_central_molecule")
DISTANCE_RULES = ("max_min_distance_to_central_molecule", "max_max_distance_to_central_molecule")


class Inference(Settings):
    """How the potential is evaluated; ``default_dtype``, ``device`` and ``head`` as in MACECalculator."""

    default_dtype: Literal["float64", "float32"] = Field(
        "float64", description="Floating-point precision of the model."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Compute device; auto takes CUDA where there is one."
    )
    kernels: Literal["auto", "e3nn", "fused", "cueq"] = Field(
        "auto",
        description="What computes a MACE model's tensor products: e3nn as in its file; fused, the same sums with "
        "less memory traffic; cueq, NVIDIA's cuEquivariance. auto: fused on a CPU, e3nn on CUDA.",
    )
    head: str | None = Field(None, description="Head of a multi-head model; None takes the model's default.")
    features: Literal["all", "clusters", "none"] = Field(
        "all",
        description="Which configurations get feature vectors: periodic frames and clusters, clusters, none.",
    )
    batch_atoms: Annotated[int, Field(gt=0)] | None = Field(
        None, description="Atoms per batch; None chooses by device."
    )
    tune_malloc: bool = Field(
        True, description="On glibc, keep large tensors on the heap: same numbers, half the CPU time."
    )


class ClassicalMD(Settings):
    """Molecular dynamics with classical nuclei."""

    ensemble: Literal["NVT", "NPT"] = Field("NVT", description="Thermodynamic ensemble.")
    time_total_fs: Positive = Field(50000.0, description="Total time, equilibration included (fs).")
    time_step_fs: Positive = Field(0.5, description="Integration time step (fs).")
    sampling_interval_fs: Positive = Field(50.0, description="Time between stored frames (fs).")
    time_equilibration_fs: NonNegative = Field(
        5000.0, description="Initial time discarded; only frames with t > this enter the dataset (fs)."
    )
    nvt_algo: Literal["csvr", "nose_hoover_chain"] = Field("csvr", description="Thermostat for NVT.")
    npt_algo: Literal["mtk_full", "mtk_isotropic"] = Field(
        "mtk_full", description="Barostat and thermostat for NPT: all cell components or the volume alone."
    )
    thermostat_time_fs: Positive = Field(100.0, description="Thermostat relaxation time (fs).")
    barostat_time_fs: Positive = Field(1000.0, description="Barostat relaxation time (fs).")
    tchain: Annotated[int, Field(ge=1)] = Field(3, description="Length of the thermostat chain.")
    pchain: Annotated[int, Field(ge=1)] = Field(3, description="Length of the barostat's thermostat chain.")
    supercell_radius: Positive = Field(25.0, description="Minimum point-periodic image distance (Å).")
    supercell_matrix: Matrix | None = Field(
        None, description="3x3 integers, rows are the new vectors; overrides supercell_radius."
    )
    supercell_diagonal: bool = Field(False, description="Only diagonal supercell matrices.")
    rng_seed: Seed = Field(42, description="Seed of velocities and stochastic thermostat.")
    max_atoms: Annotated[int, Field(gt=0)] = Field(10000, description="Refuse supercells of more atoms.")
    temperature_window: Window = Field((0.05, 3.0), description="Stop when T / temperature_K leaves this window.")
    volume_window: Window = Field((0.7, 1.5), description="Stop when V / V(t=0) leaves this window.")
    max_force: Positive = Field(100.0, description="Stop when the force on an atom exceeds this (eV/Å).")

    def _check(self) -> None:
        if self.sampling_interval_fs < self.time_step_fs:
            raise ValueError(
                f"sampling_interval_fs = {self.sampling_interval_fs} is below time_step_fs = {self.time_step_fs}; "
                "raise the interval to a multiple of the step"
            )
        for name in ("sampling_interval_fs", "time_total_fs", "time_equilibration_fs"):
            ratio = getattr(self, name) / self.time_step_fs
            if abs(ratio - round(ratio)) > 1e-6:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is not a multiple of time_step_fs = {self.time_step_fs}"
                )
        if self.time_equilibration_fs + self.sampling_interval_fs > self.time_total_fs * (1 + 1e-12):
            raise ValueError(
                f"no frame would be stored: time_equilibration_fs = {self.time_equilibration_fs} plus "
                f"sampling_interval_fs = {self.sampling_interval_fs} exceeds time_total_fs = {self.time_total_fs}; "
                "time_total_fs includes the equilibration"
            )

    @field_validator("temperature_window", "volume_window")
    @classmethod
    def _window_holds_one(cls, window: tuple[float, float]) -> tuple[float, float]:
        if not window[0] < 1.0 < window[1]:
            raise ValueError("a window is (low, high) with low < 1 < high")
        return window

    @field_validator("supercell_matrix")
    @classmethod
    def _regular(cls, matrix: Any) -> Any:
        return _regular_matrix(matrix)


def _regular_matrix(matrix: Any) -> Any:
    if matrix is not None and round(float(np.linalg.det(np.array(matrix, dtype=float)))) <= 0:
        raise ValueError("the determinant must be positive")
    return matrix


class FiniteSubsystemFilter(Settings):
    """Which clusters are cut from a periodic frame."""

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
    bond_tolerance: Positive = Field(
        1.2, description="Atoms closer than this times the sum of their covalent radii are bonded."
    )
    bond_check_tolerance: Positive = Field(
        1.5, description="In a frame, a bond longer than this times the sum of covalent radii is broken."
    )
    broken_molecules: Literal["drop", "keep", "refuse"] = Field(
        "drop", description="What to do with frames whose bond graph differs from the reference."
    )
    clusters_per_size: Annotated[int, Field(ge=1)] = Field(
        1,
        description="Clusters for every size or distance: the rule's own, then as many as there are up to this "
        "number, around many central molecules, balanced over symmetry orbits and distances.",
    )
    unique_only: bool = Field(
        False, description="At most one cluster of each symmetry orbit; with clusters_per_size above 1."
    )
    n_candidates: Annotated[int, Field(ge=1)] = Field(
        18,
        description="Further clusters take their molecules from this many nearest to their central one, shells of "
        "equal distance whole.",
    )
    rng_seed: Seed = Field(42, description="Seed of the further clusters.")
    symmetry_tolerance: Positive = Field(
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
        if not distances or not all(0 < d < np.inf for d in distances):
            raise ValueError("give distances above 0 Å")
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


class MDSampling(Settings):
    """Sampling of thermally accessible configurations by molecular dynamics."""

    temperature_K: Positive = Field(298.15, description="Target temperature (K).")
    pressure_GPa: Finite = Field(1.0e-4, description="Target pressure (GPa), used in NPT.")
    finite_subsystem_filter: FiniteSubsystemFilter | None = Field(
        FiniteSubsystemFilter(), description="Which clusters are extracted; None: the trajectory only."
    )
    md_crystal: ClassicalMD = Field(
        ClassicalMD(
            ensemble="NPT",
            time_total_fs=100000.0,
            time_step_fs=1.0,
            time_equilibration_fs=1000.0,
            sampling_interval_fs=1000.0,
            supercell_radius=15.0,
        ),
        description="Molecular dynamics of the crystal.",
    )
    root_key: str = Field("training/md_sampling", description="Where the dataset keeps this stage.")


class PhononFilter(Settings):
    """Which phonon modes are sampled."""

    k_point_mesh: QPoints = Field(
        "gamma",
        description="'gamma', a length (Å) for a Monkhorst-Pack grid, three integers, or 'commensurate': "
        "every q-point that fits the supercell.",
    )
    selected_modes: Integers | None = Field(
        None, description="1-based mode indices at each k-point; overrides the frequency window."
    )
    freq_min_THz: NonNegative = Field(0.1, description="Modes must lie above this frequency (THz).")
    freq_max_THz: Positive | None = Field(8.0, description="Modes must lie below this frequency (THz); None: no cap.")

    @field_validator("selected_modes")
    @classmethod
    def _one_based(cls, modes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if modes is not None and (not modes or min(modes) < 1 or len(set(modes)) != len(modes)):
            raise ValueError("give distinct 1-based mode indices")
        return None if modes is None else tuple(sorted(modes))

    def _check(self) -> None:
        if self.freq_max_THz is not None and self.freq_max_THz <= self.freq_min_THz:
            raise ValueError(
                f"the window is empty: freq_min_THz = {self.freq_min_THz}, freq_max_THz = {self.freq_max_THz}"
            )


class PhononSampling(Settings):
    """Sampling of configurations displaced along the normal modes of the crystal."""

    temperature_K: Positive = Field(298.15, description="Temperature of the mode amplitudes (K).")
    phonon_filter: PhononFilter = Field(PhononFilter(), description="Which modes are sampled.")
    finite_subsystem_filter: FiniteSubsystemFilter | None = Field(
        FiniteSubsystemFilter(), description="Which clusters are extracted; None: the frames only."
    )
    time_step_fs: Positive = Field(100.0, description="Time between frames of time_propagation (fs).")
    n_frames: Annotated[int, Field(ge=1)] = Field(
        20, description="Frames per selected mode (modes='each') or in total (modes='all')."
    )
    modes: Literal["each", "all"] = Field(
        "each", description="Every selected mode by itself, or all of them superposed."
    )
    amplitude_scan: Literal["time_propagation", "thermal", "equidistant"] = Field(
        "time_propagation",
        description="Trajectory of the harmonic oscillator, independent thermal draws, or an even grid.",
    )
    amplitude_max: Positive = Field(
        3.0, description="Edge of the equidistant grid, in units of the thermal standard deviation."
    )
    statistics: Literal["quantum", "classical"] = Field(
        "quantum", description="Mean energy of a mode: (hf/2) coth(hf/2kT) or kT."
    )
    rng_seed: Seed = Field(42, description="Seed of phases and amplitudes.")
    force_constants_key: str = Field(
        "training/quasi_harmonic/phonons/crystal[opt:atoms,shape]/force_constants",
        description="Where the dataset keeps the force constants that were used.",
    )
    root_key: str = Field("training/phonon_sampling", description="Where the dataset keeps this stage.")

    def _check(self) -> None:
        if self.amplitude_scan == "equidistant" and self.n_frames == 1:
            raise ValueError("amplitude_scan = 'equidistant' needs n_frames of at least 2, the edges of the grid")


def _default_volume_range() -> tuple[float, ...]:
    return tuple(round(0.96 + 0.01 * i, 2) for i in range(13))


class FreeEnergy(Settings):
    """Force constants and harmonic or quasi-harmonic free energy."""

    thermal_expansion: bool = Field(
        True, description="Volumetric thermal expansion; False uses the harmonic approximation."
    )
    relax_input_cell: Literal["full", "constant_volume", "only_atoms"] = Field(
        "constant_volume", description="What is relaxed in the input structure."
    )
    supercell_radius: Positive = Field(25.0, description="Minimum point-periodic image distance (Å).")
    supercell_matrix: Matrix | None = Field(
        None, description="3x3 integers, rows are the new vectors; overrides supercell_radius."
    )
    supercell_diagonal: bool = Field(False, description="Only diagonal supercell matrices.")
    supercell_displacement: Positive = Field(0.01, description="Finite displacement of an atom (Å).")
    max_atoms: Annotated[int, Field(gt=0)] = Field(10000, description="Refuse supercells of more atoms.")
    fourier_interpolation_mesh: Mesh = Field(
        150.0, description="q-point mesh of the thermodynamics: a length (Å) or three integers."
    )
    temperatures_K: Floats = Field((298.15,), description="Temperatures of the thermodynamics (K).")
    symmetrize_unit_cell: bool = Field(True, description="Symmetrise the input and the relaxed structure.")
    symmetry_tolerance_loose: Positive = Field(1e-2, description="Tolerance for the input structure (Å).")
    symmetry_tolerance_strict: Positive = Field(1e-5, description="Tolerance for the relaxed structure (Å).")
    max_force_on_atom: Positive = Field(1e-4, description="Convergence of the relaxation (eV/Å).")
    max_n_steps: Annotated[int, Field(gt=0)] = Field(500, description="Steps per relaxation algorithm.")
    relax_algo_primary: Literal["PreconLBFGS", "PreconFIRE"] = Field(
        "PreconLBFGS", description="Relaxation algorithm tried first."
    )
    relax_algo_fallback: Literal["PreconLBFGS", "PreconFIRE"] = Field(
        "PreconFIRE", description="Continues where the first one stopped unconverged."
    )
    imaginary_mode_threshold: Finite = Field(-0.1, description="Frequencies below this count as imaginary (THz).")
    root_key: str = Field("training/quasi_harmonic", description="Where the dataset keeps this stage.")
    volume_range: Floats = Field(
        _default_volume_range(), description="Sampled volumes, in units of the relaxed volume."
    )
    pressure_range: Floats = Field(
        (0.2, 0.0, -0.2, -0.3, -0.4, -0.5, -0.6),
        description="Sampled pressures of eos_sampling='pressure', on top of pressure_GPa (GPa).",
    )
    pressure_GPa: Finite = Field(
        0.0, description="External pressure of the full relaxation and of the equilibrium volumes (GPa)."
    )
    equation_of_state: Literal["polynomial", "birch_murnaghan", "vinet"] = Field(
        "polynomial", description="Form fitted to F(V)."
    )
    eos_sampling: Literal["volume", "pressure"] = Field("volume", description="What is varied for F(V).")
    filter_out_imaginary_acoustic: bool = Field(False, description="Leave such volumes out of the fit.")
    filter_out_imaginary_optical: bool = Field(True, description="Leave such volumes out of the fit.")
    filter_out_broken_symmetry: bool = Field(True, description="Leave such volumes out of the fit.")
    filter_out_extrapolated_minimum: bool = Field(True, description="Drop temperatures not bracketed.")
    molecule_symmetry_number: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Rotational symmetry number of the isolated molecule; None counts it."
    )

    @property
    def eos_points(self) -> tuple[float, ...]:
        """What eos_sampling varies: volume ratios or pressures (GPa)."""
        return self.volume_range if self.eos_sampling == "volume" else self.pressure_range

    @field_validator("temperatures_K")
    @classmethod
    def _temperatures(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if not temperatures or not all(0 <= t < np.inf for t in temperatures):
            raise ValueError("give temperatures of at least 0 K")
        return tuple(sorted(set(temperatures)))

    @field_validator("supercell_matrix")
    @classmethod
    def _regular(cls, matrix: Any) -> Any:
        return _regular_matrix(matrix)


class Subsampling(Settings):
    """Which frames are kept of trajectories and cluster sets."""

    n_frames: Annotated[int, Field(ge=1)] = Field(description="Frames to keep, from all sets together.")
    method: Literal["farthest_point", "k_means", "random"] = Field(
        "farthest_point",
        description="Farthest from what was picked, nearest to the centres of clusters, both in feature space; or "
        "by chance.",
    )
    random_share: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="Share of the frames picked by chance.")
    stratify_by: Annotated[tuple[Literal["source", "temperature", "size", "orbit"], ...], BeforeValidator(as_list)] = (
        Field(
            ("source", "temperature", "size", "orbit"),
            description="Frames that differ in one of these belong to different strata, each picked from by itself.",
        )
    )
    allocation: Literal["equal", "proportional"] = Field(
        "equal", description="The same number of frames from every stratum as far as it has them, or the same share."
    )
    temperatures_K: dict[str, NonNegative] = Field(
        {}, description="Temperature by name of the set, where its frames do not say (K)."
    )
    rng_seed: Seed = Field(42, description="Seed of random picks and of the first centres of k-means.")

    @field_validator("stratify_by")
    @classmethod
    def _distinct(cls, traits: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(traits)) != len(traits):
            raise ValueError("give each of them once")
        return traits


class NamedCalculator(Settings):
    """An ASE calculator in place of a MACE model: for tests and for users without MACE."""

    name: Literal["lennard_jones", "morse", "emt", "tblite"] = Field(
        description="One of the calculators that the project knows."
    )
    parameters: dict[str, float | int | str | bool] = Field({}, description="Keyword arguments of the calculator.")
