#!/usr/bin/env python
"""Molecular dynamics of a crystal, and the clusters cut from it.

python md_sampling.py --structure solid.cif --model my.model --temperature 200

needs an AiiDA profile (``verdi presto`` makes one).  Without arguments it runs on the demo's crystal and model.
"""

from __future__ import annotations

from common import arguments_of, finished, inputs_of

from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.protocols import merge


def main() -> None:
    """Run the stage and print what came out."""
    parser = arguments_of(__doc__)
    parser.add_argument("--temperature", type=float, default=298.15, help="K")
    arguments = parser.parse_args()

    overrides = merge({"md_sampling": {"temperature_K": arguments.temperature}}, arguments.overrides)
    node = finished(
        MDSamplingWorkChain.get_builder_from_protocol(
            *inputs_of(arguments), protocol=arguments.protocol, overrides=overrides
        )
    )

    series = node.outputs.thermodynamics.to_science()
    print(f"{node.process_label}<{node.pk}>: {node.outputs.trajectory.numsteps} frames")
    print(f"<T> = {series['temperature_K'].mean():.1f} K, <V> = {series['volume_A3'].mean():.1f} Å³, from t = 0")
    for name, clusters in sorted(node.outputs.clusters.items()):
        energies = clusters.to_science().configurations.energies
        print(f"{name}: {len(energies)} clusters, {energies.min():.3f} to {energies.max():.3f} eV")


if __name__ == "__main__":
    main()
