"""Training by ``mace_run_train`` in a process of its own, followed by its files and stopped at any moment.

MACE sets the precision, the seeds and the logging of its whole process, and cannot be told to stop: hence the second
process.  Its checkpoints are those of MACE; it goes on from the last one, in which the validation error was lowest so
far, with new averages of the optimizer's path.  A training in pieces is therefore no longer the same, bit by bit, as
one in one go.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from aiida_mbetrain.errors import TrainingDiverged, TrainingFailed
from aiida_mbetrain.science.progress import Observe, Report, ignore, silent
from aiida_mbetrain.science.training.mace_input import CONFIG, NAME, rows_by_epoch
from aiida_mbetrain.settings import JsonObject

POLL_s = 0.2
DIVERGED = 1e3
"""Loss, in units of that before the training, from which on a training is taken to have diverged."""
OBSERVED = ("loss", "rmse_e_per_atom", "rmse_f")
"""Of the results of an epoch; there are no errors of forces where no label has forces."""
LOG = "mace_run_train.log"
SECOND_STAGE = "_swa"
"""In the names of MACE's checkpoints of its second stage."""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class TrainingState:
    """MACE's newest checkpoint under its file name, and the errors of each epoch: enough to continue.

    history: lines of MACE's results file, one JSON object each.
    """

    name: str
    content: bytes
    history: str


class MaceTraining:
    """A training in a folder with ``train.yaml`` and the files it names."""

    def __init__(self, folder: Path, *, found: TrainingState | None = None) -> None:
        """found: state of an earlier job, to continue from."""
        self.folder = folder
        self.config: JsonObject = yaml.safe_load((folder / CONFIG).read_text("utf-8"))
        self.n_epochs = int(self.config["max_num_epochs"])
        self._head = list(self.config["heads"])[-1]  # the errors of the last one decide which epoch MACE keeps
        self._history = "" if found is None else found.history
        self._state = found
        if found is not None:
            self._restore(found)

    def run(
        self, *, on_poll: Callable[[], None], report: Report = silent, observe: Observe = ignore
    ) -> dict[int, JsonObject]:
        """Train to the last epoch; gives MACE's validation errors by epoch.  ``report`` counts epochs.

        on_poll: called several times a second; what it raises ends the training.
        Raises TrainingDiverged, TrainingFailed.
        """
        process = self._start()
        try:
            running = True
            while running:
                running = process.poll() is None and not self._model_is_written()
                newest = self._newest_checkpoint()
                rows = self.rows()  # after it: MACE writes the errors of an epoch before its checkpoint
                report(min(max(rows, default=-1) + 1, self.n_epochs), self.n_epochs)
                if rows:
                    observe({name: float(rows[max(rows)].get(name, np.nan)) for name in OBSERVED})
                self._check(rows)
                self._state = newest or self._state
                if running:
                    on_poll()
                    time.sleep(POLL_s)
        finally:
            process.kill()
            process.wait()
        self._require_model(process)
        return self.rows()

    @property
    def state(self) -> TrainingState | None:
        """The newest complete checkpoint with a finite loss; None before the first."""
        return self._state

    @property
    def model_path(self) -> Path:
        """The model that MACE writes at the end: that of the last checkpoint, with ``swa`` that of the second stage."""
        return self.folder / (f"{NAME}_stagetwo.model" if self.config.get("swa") else f"{NAME}.model")

    def finish_early(self) -> Path | None:
        """Let MACE write the model of the newest good checkpoint, without further training; None where there is none.

        Raises TrainingFailed.
        """
        if self._state is None:
            return None
        for path in self._checkpoints():
            path.unlink()
        self._restore(self._state)
        second_stage = SECOND_STAGE in self._state.name
        self.config |= {"max_num_epochs": _epoch_of(self._state.name), "swa": second_stage}
        (self.folder / CONFIG).write_text(yaml.safe_dump(self.config, sort_keys=False), "utf-8")
        process = self._start()
        try:
            while process.poll() is None and not self._model_is_written():
                time.sleep(POLL_s)
        finally:
            process.kill()
            process.wait()
        self._require_model(process)
        return self.model_path

    def rows(self) -> dict[int, JsonObject]:
        """Validation errors by epoch, those of the jobs before included."""
        return rows_by_epoch(self._validations())

    def _model_is_written(self) -> bool:
        """True from when MACE says that it goes on: with a compiled model and with tables, which nobody reads.

        The file itself does not tell: it holds compiled functions, which end as the archive does.
        """
        said = f"{self.model_path.stem}_compiled.model"
        return self.model_path.exists() and said in (self.folder / LOG).read_text("utf-8", errors="replace")

    def _require_model(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode != 0 and not self._model_is_written():
            raise TrainingFailed(f"mace_run_train stopped with {self._last_words()}")

    def _lines(self) -> Iterator[JsonObject]:
        for line in self._text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the line that is being written
                return

    def _validations(self) -> Iterator[JsonObject]:
        """Errors of the validation set of the head that decides."""
        return (line for line in self._lines() if line.get("mode") == "eval" and line.get("head") == self._head)

    def _text(self) -> str:
        files = sorted((self.folder / "results").glob("*_train.txt"))
        return self._history + "".join(file.read_text("utf-8") for file in files)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mace.cli.run_train", "--config", CONFIG]
        with (self.folder / LOG).open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C reaches the stage alone, which saves first
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def _check(self, rows: dict[int, JsonObject]) -> None:
        before = [line["loss"] for line in self._validations() if line.get("epoch") is None]
        for epoch, row in rows.items():
            if not np.isfinite(row["loss"]) or (before and row["loss"] > DIVERGED * max(before[0], 1e-12)):
                raise TrainingDiverged(
                    f"The validation loss of epoch {epoch} is {row['loss']:.3g}"
                    + (f", before the training it was {before[0]:.3g}" if before else "")
                    + ": lower the learning rate (mace: {lr: ...}) or look for wrong labels. "
                    + ("No epoch was good." if self._state is None else "The model of the last good epoch is kept.")
                )

    def _newest_checkpoint(self) -> TrainingState | None:
        """The newest checkpoint where it is a new one; MACE removes the old one before it writes the next."""
        newest = max(self._checkpoints(), key=lambda path: _epoch_of(path.name), default=None)
        if newest is None or (self._state is not None and newest.name == self._state.name):
            return None
        try:
            if not zipfile.is_zipfile(newest):  # it is being written: the directory of a zip file is at its end
                return None
            return TrainingState(newest.name, newest.read_bytes(), self._complete_lines())
        except FileNotFoundError:  # removed since it was listed: there will be another
            return None

    def _complete_lines(self) -> str:
        return "".join(json.dumps(line) + "\n" for line in self._validations())

    def _checkpoints(self) -> list[Path]:
        return list((self.folder / "checkpoints").glob("*_epoch-*.pt"))

    def _restore(self, state: TrainingState) -> None:
        folder = self.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        (folder / state.name).write_bytes(state.content)

    def _last_words(self) -> str:
        lines = (self.folder / LOG).read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def _epoch_of(name: str) -> int:
    return int(name.rpartition("_epoch-")[2].partition("_")[0].partition(".")[0])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
