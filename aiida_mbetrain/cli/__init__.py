"""The command line: ``aiida-mbetrain ...`` and, with the same commands, ``verdi data mbetrain ...``."""

from aiida_mbetrain.cli.root import main

__all__ = ["main"]
