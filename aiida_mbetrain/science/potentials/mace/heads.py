"""Single heads of MACE models, and models as MACE starts a fine-tuning from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aiida_mbetrain.errors import NotAModel
from aiida_mbetrain.science.potentials.mace.model_files import choose_head, heads_of, quiet, read_model, write_model

import torch  # isort: skip  # after mace
from mace.modules import ScaleShiftMACE  # isort: skip

if TYPE_CHECKING:
    from aiida_mbetrain.science.potentials.mace.fused import MaceModule


def select_head(path: Path, head: str, target: Path) -> None:
    """See ``potentials.select_head``."""
    model, _ = read_model(path)
    write_model(_single_head(model, head), target)


def write_foundation(path: Path, target: Path, *, head: str | None, dtype: str) -> None:
    """See ``potentials.write_foundation``."""
    model, _ = read_model(path)
    if not isinstance(model, ScaleShiftMACE):
        raise NotAModel(
            f"The baseline is a {type(model).__name__}, and MACE fine-tunes a ScaleShiftMACE alone: train a delta "
            "model (kind = 'delta'), or take a baseline that `mace_run_train --model ScaleShiftMACE` made."
        )
    single = _single_head(model, choose_head(model, head))
    # one dimension: of a table of one head and one element mace_run_train makes a number, and fails
    single.atomic_energies_fn.atomic_energies = torch.zeros(len(single.atomic_numbers), dtype=torch.float64)
    # MACE compares the cutoffs of both models, which differ where one of them is rounded
    write_model(single.to(getattr(torch, dtype)), target)


def _single_head(model: MaceModule, head: str) -> MaceModule:
    """The model of one head in float64, as MACE's ``mace_select_head`` makes it."""
    model = model.double()
    if len(heads_of(model)) == 1:
        return model
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of the new model's parameters, into which the old ones are copied
    try:
        with quiet():
            from mace.tools.scripts_utils import remove_pt_head  # with all that trainings need

            single: MaceModule = remove_pt_head(model, head)
    finally:
        torch.set_default_dtype(before)
    return single
