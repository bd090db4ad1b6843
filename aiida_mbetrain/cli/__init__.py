"""The command line: ``aiida-mbetrain ...`` and, with the same commands, ``verdi data mbetrain ...``."""

import time

STARTED = time.monotonic()  # before the imports, which take seconds

from aiida_mbetrain.cli.root import main  # noqa: E402

__all__ = ["STARTED", "main"]
