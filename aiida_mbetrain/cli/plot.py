"""Pictures of molecular dynamics, phonons, thermal expansion and clusters as PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import with_profile
from aiida_mbetrain.cli.sources import processes_of
from aiida_mbetrain.errors import InvalidSettings, UnwritableOutput

if TYPE_CHECKING:
    from aiida import orm
    from matplotlib.figure import Figure

    from aiida_mbetrain.data.crystals import Nodes
    from aiida_mbetrain.science.clusters import ClusterSet


@click.command("plot")
@click.argument("process")
@click.option("-o", "--output", "folder", default=".", show_default=True, help="Folder for the PNG files.")
@with_profile
def plot(process: str, folder: str) -> None:
    """Draw the results of PROCESS (pk or uuid; a training set or one of its stages), as far as it got.

    Molecular dynamics with the discarded part shaded, phonon bands with the sampling window, the phonon density of
    states, free energy over volume and volume over temperature, the clusters.  The name of a campaign, or
    NAME/CRYSTAL, draws every finished stage of it in a folder of its own.
    """
    from aiida_mbetrain.datasets.from_graph import missing_parts, partial_nodes

    for name, node in processes_of(process).items():
        drawn, missing = False, missing_parts(node)
        for path in draw_pictures(partial_nodes(node), Path(folder) / name):
            click.echo(path)
            drawn = True
        if missing and not drawn:
            reasons = "; ".join(f"{stage}: {why}" for stage, why in missing.items())
            raise InvalidSettings(f"{node.process_label}<{node.pk}> has nothing to draw. {reasons}")
        for stage, why in missing.items():
            click.echo(f"{stage} is not whole: {why}")


def draw_pictures(stages: Mapping[str, Nodes], folder: Path, prefix: str = "") -> Iterator[Path]:
    """Write the pictures of collected stages and return their paths; the folder is made if necessary."""
    from aiida_mbetrain.pictures import save

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(f"The folder {folder} cannot be made ({error.strerror}): give another one.") from error
    for name, figure in _figures(stages):
        yield save(figure, folder / f"{prefix}{name}.png")


def _figures(stages: Mapping[str, Nodes]) -> Iterator[tuple[str, Figure]]:
    from aiida_mbetrain import pictures
    from aiida_mbetrain.data.conversion import as_science
    from aiida_mbetrain.settings import MDSampling, PhononSampling

    about = crystal_and_model(stages)
    if "thermodynamics" in (nodes := stages.get("md_sampling", {})):
        settings = MDSampling(**nodes["settings"].get_dict())
        dynamics = settings.md_crystal
        pressure = settings.pressure_GPa if dynamics.ensemble == "NPT" else None
        conditions = f"{dynamics.ensemble}, {settings.temperature_K:g} K" + (f", {pressure:g} GPa" if pressure else "")
        title = f"{about}: molecular dynamics, {conditions}"
        yield (
            "molecular_dynamics",
            pictures.md_picture(
                as_science(nodes["thermodynamics"]),
                temperature_K=settings.temperature_K,
                pressure_GPa=pressure,
                time_equilibration_fs=dynamics.time_equilibration_fs,
                n_atoms=len(nodes["supercell"].sites),
                title=title,
            ),
        )
        if "clusters" in nodes:
            yield "md_clusters", pictures.clusters_picture(_sets(nodes), title=title)
    window: dict[str, float | None] = {}
    key: str | None = None
    if "phonon_sampling" in stages:
        nodes = stages["phonon_sampling"]
        sampling = PhononSampling(**nodes["settings"].get_dict())
        modes, key = sampling.phonon_filter, sampling.force_constants_key
        window = {"freq_min_THz": modes.freq_min_THz, "freq_max_THz": modes.freq_max_THz}
        if modes.selected_modes is not None:
            window = {}
        if "clusters" in nodes:
            title = f"{about}: phonons, {sampling.temperature_K:g} K"
            yield "phonon_clusters", pictures.clusters_picture(_sets(nodes), title=title)
    if "phonon_bands" in stages.get("quasi_harmonic", {}):
        yield from _phonon_figures(stages["quasi_harmonic"], window, key)


def crystal_and_model(stages: Mapping[str, Nodes]) -> str:
    """Formula of the crystal and name of the model of collected stages."""
    from aiida import orm

    from aiida_mbetrain.datasets.from_graph import crystal_behind

    data = [node for nodes in stages.values() for node in nodes.values() if isinstance(node, orm.Data)]
    creators = (node.creator for node in data)
    models = (creator.inputs.model for creator in creators if creator is not None and "model" in creator.inputs)
    crystals = (crystal_behind(node) for node in data if node.creator is not None)
    formulas = (node.get_formula() for node in crystals if isinstance(node, orm.StructureData))
    return ", ".join([*islice(formulas, 1), *map(_name_of_model, islice(models, 1))])


def _name_of_model(model: orm.Data) -> str:
    """Name of a file with the start of its digest, or of an ASE calculator."""
    return f"{model.filename} ({model.sha256[:8]})" if hasattr(model, "sha256") else str(model.get_dict()["name"])


def _phonon_figures(
    nodes: Nodes, window: Mapping[str, float | None], key: str | None = None
) -> Iterator[tuple[str, Figure]]:
    """Figures of the bands (relaxed, equilibrium and sampled crystals), density of states and thermal expansion.

    window: sampled frequency range, shaded in the bands of the crystal whose force constants ``key`` names.
    """
    from aiida_mbetrain import pictures
    from aiida_mbetrain.data.conversion import as_science
    from aiida_mbetrain.data.crystals import crystals, equilibrium_crystals, link_label
    from aiida_mbetrain.science.phonons import SMEARING_THZ, density_of_states
    from aiida_mbetrain.science.thermodynamics import name_of_key, reference_name
    from aiida_mbetrain.settings import FreeEnergy

    settings = FreeEnergy(**nodes["settings"].get_dict())
    about = crystal_and_model({"quasi_harmonic": nodes})
    reference, expanded = reference_name(settings), equilibrium_crystals(nodes, settings)
    sampled = reference if key is None else name_of_key(key, settings)
    drawn = {name: one for name, one in crystals(nodes, settings).items() if name in {reference, sampled, *expanded}}
    for name, crystal in drawn.items():
        yield (
            "phonon_bands" if name == reference else f"phonon_bands_{link_label(name)}",
            pictures.bands_picture(
                as_science(crystal["phonon_bands"]),
                title=f"{about}: phonons of {name}",
                **(window if name == sampled else {}),
            ),
        )
    shown = {reference: nodes, **dict(list(expanded.items())[-1:])}
    densities = {
        name: density_of_states(
            crystal["force_constants"].to_science(), settings.fourier_interpolation_mesh, smearing_THz=SMEARING_THZ
        )
        for name, crystal in shown.items()
    }
    title = f"{about}: phonons" + (f" of {reference}" if len(densities) == 1 else "")
    yield "phonon_density_of_states", pictures.density_of_states_picture(densities, title=title)
    if "equation_of_state" in nodes:
        equilibrium = as_science(nodes["equilibrium"])
        yield "free_energy", pictures.free_energy_picture(as_science(nodes["equation_of_state"]), title=about)
        if len(equilibrium["temperature_K"]) > 1:
            relaxed = as_science(nodes["relaxed"])
            share = int(nodes["thermodynamics"].get_array("n_atoms_unit_cell")[0]) / relaxed.n_atoms
            static = float(relaxed.volumes[0]) * share if settings.relax_input_cell == "full" else None
            yield "thermal_expansion", pictures.expansion_picture(equilibrium, static, title=about)


def _sets(nodes: Nodes) -> list[ClusterSet]:
    return [node.to_science() for node in nodes["clusters"].values()]
