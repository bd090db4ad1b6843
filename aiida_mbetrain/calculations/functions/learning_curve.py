"""Learning curve of a trained model: parts of a training set, and the errors of the models trained on them."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import TRAINED, part_of_training_set


@calcfunction
@exit_codes
def training_part(frames: LabelledFramesData, settings: orm.Dict) -> LabelledFramesData:
    """Labelled frames with a part of their training set, and the same validation and test set.

    settings: ``fraction`` and ``seed``.  Raises InvalidSettings for a fraction that is none.
    """
    wanted = settings.get_dict()
    return LabelledFramesData.from_science(
        part_of_training_set(as_science(frames), wanted["fraction"], seed=wanted.get("seed", 42))
    )


@calcfunction
@exit_codes
def learning_curve(whole: TableData, **parts: TableData) -> TableData:
    """The learning curve of an evaluation, with models that were trained on parts of the training set.

    whole: ``learning_curve`` of the model of the whole training set.  parts: those of the other models, under any
    names, of which the errors of the trained model are taken.
    """
    curve = as_science(whole)
    n_frames = curve["n_frames"].max()
    rows = [{name: column[row] for name, column in curve.columns.items()} for row in range(len(curve["model"]))]
    for _, part in sorted(parts.items()):
        found = as_science(part)
        (row,) = np.flatnonzero(np.isin(found["model"], list(TRAINED.values())))
        errors = {name: column[row] for name, column in found.columns.items()}
        rows.append(errors | {"fraction": errors["n_frames"] / n_frames})
    rows.sort(key=lambda row: row["fraction"])
    return TableData.from_science(Table({name: np.array([row[name] for row in rows]) for name in curve.columns}))
