"""The demo crystal and model in one unit cell for 20 fs: what documents and examples run on in tests.

    python shortened.py COMMAND ...          aiida-mbetrain COMMAND with short protocols
    python shortened.py SCRIPT.py ...        a Python script with short protocols

Only sizes and times are changed; settings that a document or script names itself stay.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

SHORT_MD = {
    "ensemble": "NPT",
    "time_total_fs": 20.0,
    "time_equilibration_fs": 10.0,
    "sampling_interval_fs": 5.0,
    "time_step_fs": 1.0,
    "supercell_radius": 5.0,
}
SHORT = {
    "description": "For tests.",
    "md_sampling": {"finite_subsystem_filter": {"n_molecules": [1, 2, 3]}, "md_crystal": SHORT_MD},
    "quasi_harmonic": {
        "thermal_expansion": False,
        "supercell_radius": 5.0,
        "fourier_interpolation_mesh": [2, 2, 2],
        "max_force_on_atom": 1e-3,
    },
    "phonon_sampling": {"finite_subsystem_filter": {"n_molecules": [1, 2, 3]}, "n_frames": 2},
}


def shorten() -> None:
    """Make every protocol, and the demo, short."""
    from aiida_mbetrain.cli import demo
    from aiida_mbetrain.workflows import protocols

    values: dict[str, Any] = protocols._file()
    values["protocols"] = {name: SHORT for name in values["protocols"]}
    # the demo starts at the volume of room temperature, where the modes of its window are imaginary
    demo.OVERRIDES = {"quasi_harmonic": {"relax_input_cell": "full"}}


if __name__ == "__main__":
    shorten()
    del sys.argv[0]
    if Path(sys.argv[0]).suffix == ".py":
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        from aiida_mbetrain.cli import main

        sys.argv.insert(0, "aiida-mbetrain")
        main()
