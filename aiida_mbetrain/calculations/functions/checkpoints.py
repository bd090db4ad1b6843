"""Checkpoints of stages in process: one file for each job, in the folder of the profile."""

from __future__ import annotations

import atexit
import fcntl
import itertools
import os
from pathlib import Path

from aiida import orm
from aiida.manage import get_manager
from aiida.manage.configuration.settings import AiiDAConfigDir

INTERVAL_s = 60.0
"""Time between two saves: what a crash can lose."""
_taken: list[StageCheckpoint] = []


def checkpoint_folder() -> Path:
    """The folder of the checkpoints of the loaded profile."""
    profile = get_manager().get_profile()
    assert profile is not None
    return Path(AiiDAConfigDir.get(), "mbetrain", "checkpoints", profile.name)


class StageCheckpoint:
    """Checkpoint file of a stage, found again by the fingerprint of its job.

    It is locked while its process lives: a second run of the same job at the same time gets a file of its own.
    """

    def __init__(self, process: orm.ProcessNode | None) -> None:
        """process: the file is no longer needed when this is stored with its results."""
        self._process = process
        self._path: Path | None = None
        self._lock = -1

    def __call__(self, fingerprint: str) -> Path:
        """The file of a job, made if there is none."""
        folder = checkpoint_folder()
        folder.mkdir(parents=True, exist_ok=True)
        names = (f"{fingerprint}{f'-{n}' if n else ''}.segments" for n in itertools.count())
        self._path = next(folder / name for name in names if self._acquire(folder / name))
        _taken.append(self)
        return self._path

    def _acquire(self, path: Path) -> bool:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                self._lock = descriptor
                return True
        except BlockingIOError:
            pass
        os.close(descriptor)
        return False

    def settle(self) -> None:
        """Let go of the file; remove it if the process has ended for good, or if nothing was saved."""
        assert self._path is not None
        _taken.remove(self)
        if _has_ended(self._process) or os.fstat(self._lock).st_size == 0:
            self._path.unlink(missing_ok=True)
        os.close(self._lock)


def settle_checkpoints() -> None:
    """Remove the checkpoints of the stages that ended, and unlock those of the stages that stopped.

    Called once the processes of the stages so far are over.
    """
    while _taken:
        _taken[-1].settle()


@atexit.register
def _settle_at_exit() -> None:
    if get_manager().profile_storage_loaded:
        settle_checkpoints()


def _has_ended(process: orm.ProcessNode | None) -> bool:
    """Return True for a process that is stored with its results or with an error that would come again.

    A process of a profile that was closed meanwhile cannot be asked: its file stays.
    """
    if process is None or process.backend.is_closed or not (process.is_sealed and process.is_finished):
        return False
    return not 400 <= (process.exit_status or 0) < 450
