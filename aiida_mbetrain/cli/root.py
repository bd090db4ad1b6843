"""The command group; foreseeable errors are printed as one line without a traceback."""

from __future__ import annotations

import importlib
import warnings

import click
from click.shell_completion import CompletionItem

from aiida_mbetrain import __version__
from aiida_mbetrain.cli.common import database_is_locked
from aiida_mbetrain.errors import MbetrainError

COMMANDS = {
    "demo": "Run the whole job on the shipped crystal and model, in a profile of its own.",
    "run": "Make a training set of your own crystal and model.",
    "campaign": "Make training sets of many crystals and conditions, and one dataset of all.",
    "model": "Register and export MACE models.",
    "export": "Write the HDF5 dataset of a finished run.",
    "export-xyz": "Write extended XYZ for a trainer, with a ready train.yaml.",
    "subsample": "Choose a number of diverse frames of finished runs.",
    "labels": "Bring back energies and forces computed elsewhere.",
    "reference": "Label clusters by quantum chemistry, whole or by a many-body expansion.",
    "train": "Train a delta model on reference labels, or the baseline itself.",
    "improve": "Improve a delta model in rounds: sample, label what is least certain, train.",
    "evaluate": "Judge a trained model on frames that it has not seen.",
    "status": "Show the stages of a run and how far its jobs are.",
    "check": "Try a code with a job of two frames.",
    "verdicts": "Judge a run or file: what passed, and what to do about the rest.",
    "show": "Show what a node of this plugin holds.",
    "trace": "Follow a frame of the dataset, or a trained model, back to where it came from.",
    "query": "Ask where data came from, and what was made of them.",
    "report": "Write one HTML page: verdicts, figures, a map of clusters, provenance.",
    "plot": "Draw molecular dynamics, phonon bands and clusters as PNG files.",
}
LOCKED = "The database is locked: another process has been writing to it for long; nothing is wrong, ask again."


def _is_foreseeable(error: Exception) -> bool:
    """Return True for errors that are printed as one line instead of a traceback."""
    if isinstance(error, MbetrainError):
        return True  # before aiida is imported, which makes ~/.aiida where no AIIDA_PATH is set
    from aiida.common.exceptions import AiidaException
    from aiida.common.exceptions import InternalError as AiidaInternalError

    return isinstance(error, AiidaException) and not isinstance(error, AiidaInternalError)


class Commands(click.Group):
    """A command group that imports a command when it is called, so that ``--help`` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command's module."""
        if name not in COMMANDS:
            return None
        attribute = name.replace("-", "_")
        module = importlib.import_module(f"aiida_mbetrain.cli.{attribute}")
        command: click.Command = getattr(module, attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands without importing them."""
        named = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; print a foreseeable error as one line."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # which of AiiDA's are foreseeable is only known once it is imported
            if _is_foreseeable(error):
                raise click.ClickException(" ".join(str(error).split())) from error
            if database_is_locked(error):
                raise click.ClickException(LOCKED) from error
            raise


@click.group("mbetrain", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aiida-mbetrain")
@click.option("-p", "--profile", help="AiiDA profile; the default one where none is given.")
@click.pass_context
def main(ctx: click.Context, profile: str | None) -> None:
    """Training sets for delta-learning of interatomic potentials of molecular crystals."""
    # a newcomer's first command makes the folder; AiiDA warns of it on import
    warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")
    ctx.ensure_object(dict)
    ctx.meta["mbetrain_profile"] = profile
