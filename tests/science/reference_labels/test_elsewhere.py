"""Programs that are run elsewhere: inputs in a folder, outputs read back, and what can be wrong with them."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.data import atomic_masses, chemical_symbols
from cluster_examples import gas

from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.reference_labels import Fragments, expand
from aiida_mbetrain.science.reference_labels.elsewhere import folder_status, read_outputs, write_inputs
from aiida_mbetrain.settings import ExternalMethod, OrcaMethod, ReferenceLabels, TbliteMethod

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
ORCA = ReferenceLabels(
    method=OrcaMethod(method="PBE0", basis="def2-SVP", dispersion="D4", blocks="%maxcore 2000"),
    order=2,
    counterpoise="vmfc",
)
QCSCHEMA = ReferenceLabels(
    method=ExternalMethod(code="psi4", method="b3lyp-d3bj", basis="def2-svp", keywords={"scf_type": "df"}),
    order=2,
    counterpoise="vmfc",
)


def fragments_of(settings: ReferenceLabels) -> Fragments:
    """Water and ammonium: molecules in their own basis, in that of the pair, and the pair."""
    ammonium = (
        [7, 1, 1, 1, 1],
        0.6 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1]]) + [0, 0, 3.0],
    )
    crystal, clusters = gas([([8, 1, 1], WATER), ammonium])
    charged = settings.model_copy(update={"charges": {"H4N": 1}})
    return expand({"pair": clusters}, {"pair": crystal}, charged).fragments


SCF_OF_ORCA_6 = """
----------------------------------------D-I-I-S--------------------------------------------
Iteration    Energy (Eh)           Delta-E    RMSDP     MaxDP     DIISErr   Damp  Time(sec)
-------------------------------------------------------------------------------------------
    1    -74.9043925497700656     0.00e+00  2.63e-02  7.44e-02  1.93e-01  0.700   0.0
    2    -74.9223358156169468    -1.79e-02  2.25e-02  6.24e-02  1.42e-01  0.700   0.0

---------------
SCF CONVERGENCE
---------------

  Last Energy change         ...    2.6405e-07  Tolerance :   1.0000e-06
  Last MAX-Density change    ...    6.9252e-05  Tolerance :   1.0000e-05
  Last RMS-Density change    ...    2.4156e-05  Tolerance :   1.0000e-06
  Last DIIS Error            ...    1.9995e-03  Tolerance :   1.0000e-06

Total Energy       :        -74.96357424008319 Eh           -2039.86256 eV

Maximum memory used throughout the entire LEANSCF-calculation: 3.6 MB
"""
"""Of which some lines look like complaints, and energies are others than the final one."""


def orca_output(
    fragment, energy, gradient, *, ending="ORCA TERMINATED NORMALLY", shift=0.0, remark="", scf=SCF_OF_ORCA_6
):
    """An excerpt in the format of ORCA 6: banner, coordinates, SCF, energy, gradient."""
    labels = [
        chemical_symbols[z] + (":" if ghost else "") for z, ghost in zip(fragment.numbers, fragment.ghosts, strict=True)
    ]
    positions = fragment.positions + shift
    dashes, stars = "-" * 33, "*" * 17
    lines = ["", f"{stars:>50}", "* O   R   C   A *".rjust(50), f"{stars:>50}", "", ""]
    lines += ["Program Version 6.0.1  -  RELEASE   -".rjust(62), "", ""]
    lines += [dashes, "CARTESIAN COORDINATES (ANGSTROEM)", dashes]
    lines += [f"  {name:4}" + "".join(f"{x:14.6f}" for x in x3) for name, x3 in zip(labels, positions, strict=True)]
    lines += ["", dashes[:28], "CARTESIAN COORDINATES (A.U.)", dashes[:28]]
    lines += ["  NO LB      ZA    FRAG     MASS         X           Y           Z"]
    for i, (name, z, x3) in enumerate(zip(labels, fragment.numbers, positions / units.Bohr, strict=True)):
        charge = 0.0 if name.endswith(":") else z
        numbers = "".join(f"{x:12.6f}" for x in x3)
        lines.append(f"{i:4d} {name:5}{charge:7.4f}    0{atomic_masses[z]:10.3f}{numbers}")
    lines += [scf, "-" * 25 + "   " + "-" * 20, f"FINAL SINGLE POINT ENERGY {energy:18.12f}{remark}", "-" * 25, ""]
    lines += [dashes[:18], "CARTESIAN GRADIENT", dashes[:18], ""]
    for i, (name, g) in enumerate(zip(labels, gradient, strict=True), start=1):
        lines.append(f"{i:4d}   {name.rstrip(':'):4}:" + "".join(f"{x:15.9f}" for x in g))
    lines += [
        "",
        "Difference to translation invariance:",
        "           :   -0.0000000000   -0.0000000000    0.0000000000",
    ]
    return "\n".join([*lines, "", f"                             ****{ending}****", ""])


@pytest.fixture
def orca(tmp_path: Path):
    """A folder with finished outputs of all fragments, and their energies (E_h) and gradients."""
    fragments = fragments_of(ORCA)
    write_inputs(tmp_path, fragments, ORCA)
    rng = np.random.default_rng(5)
    results = {}
    for row in range(len(fragments)):
        fragment = fragments[row]
        results[fragment.id] = -76.0 - row, rng.normal(scale=0.01, size=fragment.positions.shape)
        (tmp_path / f"{fragment.id}.out").write_text(orca_output(fragment, *results[fragment.id]))
    return tmp_path, fragments, results


def test_orca_inputs_have_ghosts_charges_and_keywords(orca):
    folder, fragments, _ = orca
    assert len(fragments) == 5
    for row in range(len(fragments)):
        fragment = fragments[row]
        head, block, state, *atoms, end = (folder / f"{fragment.id}.inp").read_text().splitlines()
        assert (head, block, end) == ("! PBE0 D4 def2-SVP EnGrad", "%maxcore 2000", "*")
        assert state == f"* xyz {fragment.charge} 1"
        assert [line.split()[0].endswith(":") for line in atoms] == fragment.ghosts.tolist()
        np.testing.assert_allclose(
            [[float(x) for x in line.split()[1:]] for line in atoms], fragment.positions, atol=1e-9
        )
    assert sorted(fragments.charges.tolist()) == [0, 0, 1, 1, 1]


def test_the_table_lists_every_fragment(orca):
    folder, fragments, _ = orca
    rows = list(csv.DictReader((folder / "fragments.csv").open()))
    assert [row["id"] for row in rows] == fragments.ids.tolist()
    assert {(row["formula"], row["n_ghosts"]) for row in rows} == {
        ("H2O", "0"), ("H2O", "5"), ("H4N", "0"), ("H4N", "3"), ("H6NO", "0"),
    }  # fmt: skip


def test_orca_outputs_are_read_with_forces_on_ghosts(orca):
    folder, fragments, results = orca
    labels = read_outputs(folder, fragments, ORCA)
    assert labels.failures == {}
    assert labels.programs == ("orca 6.0.1",)
    for row, name in enumerate(fragments.ids.tolist()):
        energy, gradient = results[name]
        assert labels.energies[row] == pytest.approx(energy * units.Hartree, abs=1e-9)
        forces = labels.forces[labels.offsets[row] : labels.offsets[row + 1]]
        np.testing.assert_allclose(forces, -gradient * units.Hartree / units.Bohr, atol=1e-7)


@pytest.mark.parametrize("mark", [":", " :", "  :"])
def test_the_colon_of_a_ghost_may_stand_apart_from_its_element(orca, tmp_path, mark):
    folder, fragments, results = orca
    for name in fragments.ids.tolist():
        text = (folder / f"{name}.out").read_text()
        table = re.sub(r"^(  [A-Z][a-z]?):( *?)(?= {2,}-?\d)", rf"\1{mark}\2", text, flags=re.MULTILINE)
        (tmp_path / f"{name}.out").write_text(table)
    labels = read_outputs(tmp_path, fragments, ORCA)
    assert labels.failures == {}
    expected = [results[name][0] * units.Hartree for name in fragments.ids.tolist()]
    np.testing.assert_allclose(labels.energies, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ending": "  The program was stopped"}, r"did not end \(killed, by memory or time"),
        ({"ending": "ORCA finished by error termination in SCF"}, "error termination in SCF"),
        (
            {
                "scf": "Error (ORCA_SCF): Not enough memory available!",
                "ending": "ORCA finished by error termination in GTOInt",
            },
            r"Not enough memory available; ORCA finished by error termination in GTOInt",
        ),
        ({"shift": 0.01}, "another geometry: atom . lies 0.0173 Å"),
        ({"remark": " (Wavefunction not fully converged!)"}, "not fully converged"),
    ],
)
def test_a_faulty_orca_output_is_recorded_and_the_others_are_read(orca, change, message):
    folder, fragments, results = orca
    fragment = fragments[1]
    (folder / f"{fragment.id}.out").write_text(orca_output(fragment, *results[fragment.id], **change))
    labels = read_outputs(folder, fragments, ORCA)
    assert list(labels.failures) == [1]
    assert np.array_equal(np.flatnonzero(~labels.labelled), [1])
    assert re.search(message, labels.failures[1])


def test_an_output_that_ends_in_the_midst_names_its_last_line_and_no_harmless_one(orca):
    folder, fragments, _ = orca
    path = folder / f"{fragments[0].id}.out"
    text = path.read_text()
    path.write_text(text[: text.index("FINAL SINGLE POINT")])
    message = read_outputs(folder, fragments, ORCA).failures[0]
    assert "the program did not end (killed, by memory or time, or running)" in message


def test_an_output_of_other_atoms_is_named(orca):
    folder, fragments, _ = orca
    first, second = (folder / f"{fragments[row].id}.out" for row in (0, 1))
    first.write_text(second.read_text())
    assert "not those of the fragment" in read_outputs(folder, fragments, ORCA).failures[0]


def test_a_cut_output_at_any_place_is_a_failure(orca):
    """A job that is killed leaves a part of its output."""
    folder, fragments, _ = orca
    path = folder / f"{fragments[0].id}.out"
    text = path.read_text()
    for end in range(0, len(text) - 40, 97):
        path.write_text(text[:end])
        assert 0 in read_outputs(folder, fragments, ORCA).failures


def test_the_run_script_runs_what_is_open(orca, tmp_path):
    folder, fragments, _ = orca
    (folder / f"{fragments[2].id}.out").unlink()
    program = folder / "fake orca"
    program.write_text('#!/bin/sh\ntest -f "$1" && echo "ORCA TERMINATED NORMALLY"\n')
    program.chmod(0o755)
    assert folder_status(folder).n_open == 1
    subprocess.run([folder / "run.sh", "2"], env=os.environ | {"ORCA": str(program)}, check=True)
    assert "TERMINATED" in (folder / f"{fragments[2].id}.out").read_text()
    assert "FINAL" in (folder / f"{fragments[0].id}.out").read_text()
    assert folder_status(folder).n_open == 0
    assert not list(folder.glob("scratch/*"))


def qcschema_result(folder, fragment, energy, gradient):
    given = json.loads((folder / f"{fragment.id}.json").read_text())
    made = {
        "schema_name": "qcschema_output",
        "properties": {"return_energy": energy},
        "return_result": gradient.ravel().tolist(),
        "success": True,
        "provenance": {"creator": "Psi4", "version": "1.9.1"},
    }
    return given | made


def test_qcschema_inputs_are_valid_and_results_are_read(tmp_path):
    models = pytest.importorskip("qcelemental.models", reason="QCElemental is not installed")
    fragments = fragments_of(QCSCHEMA)
    write_inputs(tmp_path, fragments, QCSCHEMA)
    for row in range(len(fragments)):
        fragment = fragments[row]
        given = models.AtomicInput(**json.loads((tmp_path / f"{fragment.id}.json").read_text()))
        np.testing.assert_allclose(given.molecule.geometry * units.Bohr, fragment.positions, atol=1e-7)
        assert given.molecule.real.tolist() == (~fragment.ghosts).tolist()
        assert given.molecule.molecular_charge == fragment.charge
        result = qcschema_result(tmp_path, fragment, -5.0 - row, np.full(fragment.positions.shape, 0.01))
        text = models.AtomicResult(**result).json()
        (tmp_path / f"{fragment.id}.result.json").write_text(text)
    labels = read_outputs(tmp_path, fragments, QCSCHEMA)
    assert labels.failures == {}
    assert labels.programs == ("psi4 1.9.1",)
    np.testing.assert_allclose(labels.energies, (-5.0 - np.arange(len(fragments))) * units.Hartree)
    np.testing.assert_allclose(labels.forces, -0.01 * units.Hartree / units.Bohr)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"success": false, "error": {"error_message": "Traceback\\n  SCF did not converge"}}',
            "SCF did not converge",
        ),
        ('{"success": true}', "no result of QCSchema"),
        ("[]", "no result of QCSchema"),
        ("", "no result of QCSchema"),
    ],
)
def test_a_faulty_result_is_recorded_with_its_message(tmp_path, text, message):
    fragments = fragments_of(QCSCHEMA)
    write_inputs(tmp_path, fragments, QCSCHEMA)
    (tmp_path / f"{fragments[0].id}.result.json").write_text(text)
    assert message in read_outputs(tmp_path, fragments, QCSCHEMA).failures[0]


def test_a_table_of_results_is_read(tmp_path):
    fragments = fragments_of(QCSCHEMA)
    write_inputs(tmp_path, fragments, QCSCHEMA)
    numbers = " ".join(["0.5"] * 3 * len(fragments[0].numbers))
    rows = [
        "id,energy_eV,forces_eV_per_A,program,message",
        f"{fragments[0].id},-2000.5,{numbers},mrcc 2023,",
        f"{fragments[1].id},,,,no memory left",
        f"{fragments[2].id},-10.0,1 2 3,,",
        f"{fragments[3].id},nan,,,",
    ]
    (tmp_path / "results.csv").write_text("\n".join(rows) + "\n")
    labels = read_outputs(tmp_path, fragments, QCSCHEMA)
    assert labels.energies[0] == -2000.5
    assert (labels.forces[: labels.offsets[1]] == 0.5).all()
    assert labels.programs == ("mrcc 2023",)
    assert "no memory left" in labels.failures[1]
    assert f"no forces on its {len(fragments[2].numbers)} atoms" in labels.failures[2]
    assert "the energy is nan" in labels.failures[3]
    assert sorted(labels.failures) == [1, 2, 3]
    assert folder_status(tmp_path).n_open == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("id,E\nx,1\n", "no column energy_eV"), ("id,energy_eV\nx,1\nx,2\n", "line 3: the id x stands twice")],
)
def test_a_damaged_table_is_refused(tmp_path, text, message):
    fragments = fragments_of(QCSCHEMA)
    write_inputs(tmp_path, fragments, QCSCHEMA)
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(UnreadableFile, match=message):
        read_outputs(tmp_path, fragments, QCSCHEMA)


def test_a_folder_of_other_settings_is_left_alone(orca):
    folder, fragments, _ = orca
    other = ORCA.model_copy(update={"method": OrcaMethod(method="PBE", basis="def2-SVP")})
    before = sorted(path.read_bytes() for path in folder.iterdir())
    with pytest.raises(InvalidSettings, match="inputs of other settings"):
        write_inputs(folder, fragments, other)
    assert sorted(path.read_bytes() for path in folder.iterdir()) == before


def test_a_program_of_the_stage_has_no_inputs(tmp_path):
    with pytest.raises(InvalidSettings, match="run by `reference run`"):
        write_inputs(tmp_path, fragments_of(ORCA), ReferenceLabels(method=TbliteMethod()))


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="reference export"):
        folder_status(tmp_path)
