"""``mbetrain-worker JOB_DIR``: read the job, run its stage, write the results."""

from __future__ import annotations

from aiida_mbetrain.worker.clock import Clock

CLOCK = Clock()  # before the imports, which take seconds of the walltime

import argparse  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402

from aiida_mbetrain import __version__  # noqa: E402
from aiida_mbetrain.errors import DiskFull, MbetrainError, StoppedEarly, WalltimeTooShort  # noqa: E402
from aiida_mbetrain.science.io import naming_full_disk  # noqa: E402
from aiida_mbetrain.science.potentials import (  # noqa: E402
    NoPotential,
    Potential,
    SumPotential,
    load_mace,
    named_calculator,
)
from aiida_mbetrain.science.stages import STAGES, Job, Walltime  # noqa: E402
from aiida_mbetrain.settings import Inference, JsonObject, NamedCalculator  # noqa: E402
from aiida_mbetrain.worker import codec, job_file  # noqa: E402
from aiida_mbetrain.worker.job_file import AseCalculator, JobFile, MaceFile, SumOfModels  # noqa: E402
from aiida_mbetrain.worker.machine import describe_machine  # noqa: E402
from aiida_mbetrain.worker.progress_file import ProgressFile  # noqa: E402

EXIT_STOPPED, EXIT_FAILED, EXIT_UNEXPECTED = 0, 1, 70


def main(arguments: list[str] | None = None) -> int:
    """The console program; 0 when the job is finished or stopped with a checkpoint."""
    parser = argparse.ArgumentParser(prog="mbetrain-worker", description="Run one heavy stage of aiida-mbetrain.")
    parser.add_argument("job_dir", type=Path, help="folder with job.json; results are written there")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    folder = parser.parse_args(arguments).job_dir
    CLOCK.listen()
    (folder / job_file.RESULTS_FILE).unlink(missing_ok=True)
    results, exit_code = run_and_describe(folder)
    codec.write_json(folder / job_file.RESULTS_FILE, results)
    return exit_code


def run_and_describe(folder: Path) -> tuple[JsonObject, int]:
    """Content of results.json, also after an error, and the exit code of the program."""
    started = time.perf_counter(), time.process_time()
    facts: JsonObject = {}
    try:
        with naming_full_disk():
            run_job(folder, facts)
        ending, exit_code = {"status": job_file.FINISHED, "code": 0, "message": ""}, 0
    except MbetrainError as error:
        ending = {"status": error.status, "code": error.code, "message": error.message}
        exit_code = EXIT_STOPPED if isinstance(error, StoppedEarly | DiskFull) else EXIT_FAILED
    except Exception as error:  # a bug: its traceback goes to stderr, its ending into the results all the same
        traceback.print_exc()
        ending = {"status": job_file.UNEXPECTED, "code": None, "message": f"{type(error).__name__}: {error}"}
        exit_code = EXIT_UNEXPECTED
    timings = {
        "wall_time_s": time.perf_counter() - started[0],
        "cpu_time_s": time.process_time() - started[1],
        "total_time_s": CLOCK.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }
    return ending | facts | timings | describe_machine(), exit_code


def run_job(folder: Path, facts: JsonObject) -> None:
    """Run the stage and write its outputs, also those that an error carries; ``facts`` receives what is recorded."""
    job = JobFile.read(folder)
    CLOCK.limit(job.max_seconds)
    progress = ProgressFile(folder / job_file.PROGRESS_FILE, job.stage)
    facts["stage"] = job.stage
    started = time.perf_counter()
    potential = load_potential(folder, job)
    facts["load_time_s"] = time.perf_counter() - started
    facts["potential"] = potential.describe()
    facts["peak_device_memory_bytes"] = None
    if CLOCK.is_over():
        raise WalltimeTooShort(
            f"Starting up took {CLOCK.seconds:.0f} s of max_wallclock_seconds = {job.max_seconds:g}, and nothing was "
            "computed: give the jobs of this stage more time."
        )
    checkpoint = folder / job.checkpoint
    warnings: list[str] = []
    try:
        results = STAGES[job.stage](
            Job(
                inputs={name: codec.load(folder, entry.to_dict()) for name, entry in job.inputs.items()},
                potential=potential,
                settings=job.settings,
                inference=job.inference,
                report=progress.report,
                observe=progress.observe,
                warn=warnings.append,
                should_stop=CLOCK.should_stop,
                walltime=None if job.max_seconds is None else Walltime(job.max_seconds, CLOCK.seconds_left),
                checkpoint=checkpoint,
                checkpoint_interval_s=job.checkpoint_interval_s,
            )
        )
    except MbetrainError as error:
        facts["outputs"] = write_outputs(folder / job_file.OUTPUTS, error.results)
        raise
    finally:
        progress.write()
        if warnings:
            facts["warnings"] = warnings
        facts["peak_device_memory_bytes"] = peak_device_memory_bytes()
    facts["outputs"] = write_outputs(folder / job_file.OUTPUTS, results)
    checkpoint.unlink(missing_ok=True)


def write_outputs(folder: Path, results: Mapping[str, object]) -> dict[str, JsonObject]:
    """Write the outputs of a stage and return their entries for results.json."""
    folder.mkdir(exist_ok=True)
    return {name: codec.save(folder, name, value) for name, value in results.items()}


def load_potential(folder: Path, job: JobFile) -> Potential:
    """The potential that the job names."""
    if job.model is None:
        return NoPotential()
    if not isinstance(job.model, SumOfModels):
        return load_term(folder, job.model, job.inference)
    own_head = job.inference.model_copy(update={"head": None})  # the head of the settings is that of the baseline
    baseline, *others = job.model.terms
    rest = [load_term(folder, term, own_head) for term in others]
    return SumPotential([load_term(folder, baseline, job.inference), *rest])


def load_term(folder: Path, term: MaceFile | AseCalculator, inference: Inference) -> Potential:
    """One model of the job."""
    if isinstance(term, MaceFile):
        return load_mace(folder / term.file, inference, sha256=term.sha256)
    return named_calculator(NamedCalculator(name=term.name, parameters=term.parameters))


def peak_memory_bytes() -> int:
    """Largest resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_device_memory_bytes() -> int | None:
    """Largest memory taken on a CUDA device; None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())


if __name__ == "__main__":
    sys.exit(main())
