#!/usr/bin/env python
"""Frames displaced along the phonon modes of a crystal, and the clusters cut from them.

python phonon_sampling.py --force-constants 1234 --temperature 200

takes force constants that are there, by pk or uuid (``quasi_harmonic.py`` makes them), or else computes them
first.  It needs an AiiDA profile (``verdi presto`` makes one).  Without arguments it runs on the demo's crystal and
model.
"""

from __future__ import annotations

from aiida import orm
from common import arguments_of, finished, inputs_of

from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.protocols import merge
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain


def main() -> None:
    """Run the stage and print what came out."""
    parser = arguments_of(__doc__)
    parser.add_argument("--temperature", type=float, default=298.15, help="K")
    parser.add_argument("--force-constants", help="pk or uuid of a ForceConstantsData")
    arguments = parser.parse_args()
    options = {
        "protocol": arguments.protocol,
        "overrides": merge({"phonon_sampling": {"temperature_K": arguments.temperature}}, arguments.overrides),
    }

    structure, model = inputs_of(arguments)
    if arguments.force_constants:
        constants = orm.load_node(arguments.force_constants)
    else:
        builder = QuasiHarmonicWorkChain.get_builder_from_protocol(structure, model, **options)
        constants = finished(builder).outputs.force_constants
    node = finished(PhononSamplingWorkChain.get_builder_from_protocol(constants, model, **options))

    modes = node.outputs.modes.to_science()
    frames = node.outputs.trajectory
    print(f"{node.process_label}<{node.pk}>: {frames.numsteps} frames of {len(modes['frequencies_THz'])} modes")
    print(f"frequencies {modes['frequencies_THz'].min():.2f} to {modes['frequencies_THz'].max():.2f} THz")
    print(f"left out: {int(modes['n_imaginary'])} imaginary, {int(modes['n_below_window'])} below the window")
    for name, clusters in sorted(node.outputs.clusters.items()):
        print(f"{name}: {clusters.base.attributes.get('n_frames')} clusters")


if __name__ == "__main__":
    main()
