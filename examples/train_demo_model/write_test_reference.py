"""The GFN1 numbers that tests/test_demo.py holds the shipped model to.

    python write_test_reference.py WORK_DIR OUT.json held_out_1.xyz held_out_2.xyz ...

The tolerances are set by hand after an evaluation, a little above the errors that the model card states.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import phonopy
from ase import Atoms
from ase.io import read

sys.path.insert(0, str(Path(__file__).parent))
from reference import commensurate_frequencies

TOLERANCES = {
    "forces_eV_per_A": 0.1,
    "energy_eV_per_atom": 0.003,
    "edge_relative": 0.004,
    "gamma_libration_THz": 0.15,
    "lattice_modes_rms_THz": 0.2,
}


def as_dict(atoms: Atoms, name: str) -> dict:
    return {
        "name": name,
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.round(6).tolist() if atoms.pbc.all() else None,
        "positions": atoms.positions.round(6).tolist(),
        "energy": round(float(atoms.get_potential_energy()), 6),
        "forces": atoms.get_forces().round(5).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("held_out", type=Path, nargs="+")
    options = parser.parse_args()
    frames = [frame for path in options.held_out for frame in read(path, index=":")]
    wanted = ("cluster_1", "cluster_3", "dimer", "thermal", "libration")
    first = {frame.info["config_type"]: frame for frame in reversed(frames)}
    frequencies = commensurate_frequencies(phonopy.load(options.work / "gfn1_phonons.yaml", log_level=0))
    reference = {
        "method": "GFN1-xTB (tblite), Γ point of the 2x2x2 supercell",
        "primitive_edge_A": round(float(read(options.work / "relaxed.xyz").cell.lengths()[0]), 5),
        "commensurate_frequencies_THz": np.round(frequencies, 4).tolist(),
        "wall_contacts_A": [2.0, 1.8, 1.6, 1.4, 1.2],
        "tolerances": TOLERANCES,
        "structures": [as_dict(first[kind], kind) for kind in wanted if kind in first],
    }
    options.out.write_text(json.dumps(reference))


if __name__ == "__main__":
    main()
