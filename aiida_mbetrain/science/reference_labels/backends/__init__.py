"""Programs of quantum chemistry that the stage calls itself, one small class each.

The programs are imported when they are used: planning calculations needs none of them.
"""

from __future__ import annotations

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.reference_labels.backends.base import Backend, Evaluation
from aiida_mbetrain.settings import AseMethod, Method, PyscfMethod, TbliteMethod

__all__ = ["Backend", "Evaluation", "backend_of"]


def backend_of(method: Method, *, threads: int = 1, memory_MB: float = 4000.0) -> Backend:
    """The program of a method, checked to be there.

    Raises InvalidSettings for a program that is run elsewhere, a missing package, and a method it does not know.
    """
    if isinstance(method, TbliteMethod):
        from aiida_mbetrain.science.reference_labels.backends.tblite import TbliteBackend

        return TbliteBackend(method)
    if isinstance(method, PyscfMethod):
        from aiida_mbetrain.science.reference_labels.backends.pyscf import PyscfBackend

        return PyscfBackend(method, threads=threads, memory_MB=memory_MB)
    if isinstance(method, AseMethod):
        from aiida_mbetrain.science.reference_labels.backends.ase import AseBackend

        return AseBackend(method)
    raise InvalidSettings(
        f"ReferenceLabels.method: {method.program} is run elsewhere; write its inputs and import its outputs."
    )
