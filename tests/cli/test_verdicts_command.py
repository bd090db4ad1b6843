"""Verdicts after a run: in the terminal, as data in the graph, and as JSON of a run or file."""

from __future__ import annotations

import io
import json

from rich.console import Console

from aiida_mbetrain.cli.verdicts import print_verdicts


def test_run_keeps_its_verdicts_as_data_and_the_command_agrees(finished, succeed, tmp_path):
    kept = finished.outputs.verdicts.get_list()
    names = {verdict["name"] for verdict in kept}
    assert {"Settled", "Independent frames", "Conserved energy", "Residual force", "Imaginary modes"} <= names
    assert {"Modes left out", "Repeated molecules", "Broken molecules"} <= names
    path = tmp_path / "set.hdf5"
    path.write_bytes(finished.outputs.dataset.get_content("rb"))
    for source in (finished.pk, path):
        assert json.loads(succeed("verdicts", source, "--json")) == kept


def test_show_and_verdicts_print_them_with_advice_where_something_is_wrong(finished, succeed):
    kept = finished.outputs.verdicts.get_list()
    failed = [verdict for verdict in kept if not verdict["passed"]]
    assert failed
    for command in ("show", "verdicts"):
        told = " ".join(succeed(command, finished.pk).split())
        assert f"{len(kept) - len(failed)} of {len(kept)} passed" in told
        assert all(verdict["name"] in told for verdict in kept)
        assert told.count("→") == len(failed)


def test_values_are_printed_as_they_are():
    """Names of crystals have brackets, which are no markup."""
    out = Console(file=io.StringIO(), width=200)
    verdict = {"name": "Residual force", "passed": False, "value": "of crystal[opt:atoms]", "advice": "Relax [more].",
               "section": "training/md[dyn]"}  # fmt: skip
    print_verdicts(out, [verdict])
    text = out.file.getvalue()
    assert all(part in text for part in ("0 of 1 passed", "crystal[opt:atoms]", "→ Relax [more].", "training/md[dyn]"))
