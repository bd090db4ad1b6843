"""AiiDA profile in a local folder: SQLite, no broker, no daemon; ~/.aiida is not touched."""

from __future__ import annotations

import os
from pathlib import Path

from aiida_mbetrain.errors import UnwritableOutput

PROFILE = "demo"


def load_local_profile(folder: Path) -> None:
    """Load the profile in ``folder``; make it if there is none.

    Raises UnwritableOutput if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(
            f"The folder {folder} cannot be written ({error.strerror}): give another one."
        ) from error
    os.environ["AIIDA_PATH"] = str(folder)

    from aiida import load_profile
    from aiida.manage.configuration import create_profile, get_config, reset_config, settings

    settings.AiiDAConfigDir.set(folder / ".aiida")
    reset_config()
    config = get_config(create=True)
    if PROFILE not in config.profile_names:
        profile = create_profile(
            config,
            name=PROFILE,
            email="demo@localhost",
            storage_backend="core.sqlite_dos",
            storage_config={"filepath": str(folder / "storage")},
        )
        config.add_profile(profile)
        config.set_default_profile(PROFILE)
        config.set_option("warnings.development_version", False)
        config.store()
    load_profile(PROFILE, allow_switch=True)
