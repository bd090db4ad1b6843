#!/usr/bin/env python
"""Relaxation, force constants, phonon bands and harmonic thermodynamics of a crystal.

python quasi_harmonic.py --structure solid.cif --model my.model --save phonopy_params.yaml

needs an AiiDA profile (``verdi presto`` makes one).  Without arguments it runs on the demo's crystal and model.
"""

from __future__ import annotations

from common import arguments_of, finished, inputs_of

from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain


def main() -> None:
    """Run the stage, print what came out, and save the force constants for phonopy."""
    parser = arguments_of(__doc__)
    parser.add_argument("--save", help="write the force constants as a file that phonopy reads")
    arguments = parser.parse_args()

    node = finished(
        QuasiHarmonicWorkChain.get_builder_from_protocol(
            *inputs_of(arguments), protocol=arguments.protocol, overrides=arguments.overrides
        )
    )

    relaxation = node.outputs.relaxation.get_dict()
    constants = node.outputs.force_constants
    thermodynamics = node.outputs.thermodynamics.to_science()
    print(f"{node.process_label}<{node.pk}>: {relaxation['space_group']}, {relaxation['n_steps']} steps of relaxation")
    print(f"largest force {relaxation['max_force']:.1e} eV/Å")
    print(f"lowest frequency at Γ {constants.base.attributes.get('min_frequency_gamma_THz'):.3f} THz")
    print(f"acoustic sum rule violated by {constants.base.attributes.get('acoustic_sum_rule_violation'):.1e} eV/Å²")
    for temperature, energy in zip(thermodynamics["temperature_K"], thermodynamics["F_vib_kJ_per_mol"], strict=True):
        print(f"F_vib({temperature:g} K) = {energy:.3f} kJ/mol per primitive cell")
    if arguments.save:
        constants.phonopy().save(arguments.save, settings={"force_constants": True})


if __name__ == "__main__":
    main()
