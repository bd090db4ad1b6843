"""Training as a stage: MACE's own checkpoint is kept in that of the job."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.job import Job
from aiida_mbetrain.science.training import OTHERS, MaceTraining, TrainingState, train_model
from aiida_mbetrain.settings import Training


def training(job: Job) -> dict[str, object]:
    """frames -> model, history (validation errors by epoch) and facts; of several heads also the model of all.

    Other inputs are the model to be fine-tuned, ``foundation``, the file ``replay``, and under ``frames_HEAD`` frames
    with the labels of other methods.
    The error of a diverged training carries the same outputs for the last good epoch.
    """
    settings = Training(**job.settings)
    checkpoint = CheckpointFile(job, "training", settings.to_dict() | {"device": None})

    def on_poll(running: MaceTraining) -> None:
        state = running.state
        if state is not None:
            checkpoint.offer(lambda: Progress(state={name: np.array(value) for name, value in _saved(state).items()}))
        checkpoint.stop_if_asked()

    found = None
    if checkpoint.found is not None:
        saved = checkpoint.found.state
        found = TrainingState(str(saved["name"]), saved["content"].tobytes(), str(saved["history"]))
    with tempfile.TemporaryDirectory(prefix="mbetrain-training-") as folder:
        trained = train_model(
            job.inputs["frames"],
            settings,
            Path(folder),
            others={name.removeprefix(OTHERS): job.inputs[name] for name in job.inputs if name.startswith(OTHERS)},
            baseline=job.inputs.get("foundation"),
            replay=job.inputs.get("replay"),
            found=found,
            on_poll=on_poll,
            report=job.report,
            observe=job.observe,
        )
    return trained.outputs()


def _saved(state: TrainingState) -> dict[str, object]:
    content = np.frombuffer(state.content, dtype=np.uint8)
    return {"name": state.name, "content": content, "history": state.history}
