"""Force constants in process, and what follows from them at no cost."""

from __future__ import annotations

from dataclasses import fields

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, report_for, run_stage
from aiida_mbetrain.data.bands import bands_from_structure
from aiida_mbetrain.data.conversion import as_node
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.science.phonons import PhononFrames, band_structure, sample_phonons
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.thermodynamics import harmonic_thermodynamics
from aiida_mbetrain.settings import FreeEnergy, PhononSampling

MODE_COLUMNS = tuple(field.name for field in fields(PhononFrames) if field.name != "frames")


@calcfunction
@exit_codes
def force_constants(
    structure: orm.StructureData, model: orm.Data, settings: orm.Dict, inference: orm.Dict
) -> dict[str, orm.Data]:
    """Harmonic force constants of a relaxed crystal.  Outputs: force_constants, run_info."""
    return run_stage("force_constants", model, inference, settings.get_dict(), structure=structure)


@calcfunction
@exit_codes
def phonon_bands(force_constants: ForceConstantsData) -> orm.BandsData:
    """Phonon bands along the seekpath path, as a core BandsData in THz."""
    constants = force_constants.to_science()
    assert constants.primitive.cells is not None
    return bands_from_structure(band_structure(constants), constants.primitive.cells[0])


@calcfunction
@exit_codes
def thermodynamics(force_constants: ForceConstantsData, settings: orm.Dict) -> orm.Data:
    """Harmonic free energy, entropy and heat capacity at FreeEnergy.temperatures_K."""
    wanted = FreeEnergy(**settings.get_dict())
    result = harmonic_thermodynamics(
        force_constants.to_science(),
        wanted.temperatures_K,
        wanted.fourier_interpolation_mesh,
        imaginary_mode_threshold_THz=wanted.imaginary_mode_threshold,
    )
    node = as_node(Table(result.columns()))
    node.base.attributes.set_many(
        {
            "n_modes": result.n_modes,
            "n_imaginary_modes": result.n_imaginary,
            "n_left_out_modes": result.n_left_out,
            "n_left_out_optical_modes": result.n_left_out_optical,
        }
    )
    return node


@calcfunction
@exit_codes
def phonon_sampling(force_constants: ForceConstantsData, settings: orm.Dict) -> dict[str, orm.Data]:
    """Frames displaced along normal modes.

    Outputs: frames (TrajectoryData), modes (the sampled modes and every frame's amplitudes in them).
    """
    sample = sample_phonons(
        force_constants.to_science(), PhononSampling(**settings.get_dict()), report=report_for("phonon_sampling")
    )
    modes = {name: value for name, value in vars(sample).items() if name in MODE_COLUMNS}
    return {"frames": as_node(sample.frames), "modes": as_node(Table(modes))}
