"""Reference labels: the method of quantum chemistry, and the fragments that it is applied to."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.settings.base import Positive, Settings

Text = Annotated[str, Field(min_length=1)]
Scalar = float | int | str | bool
Counterpoise = Literal["none", "cp", "vmfc"]


class Method(Settings):
    """Base of the methods of all programs."""

    program: str = Field(description="Name of the program.")

    @property
    def gives_forces(self) -> bool:
        """False where the program has no analytic gradient of this method: its labels are energies alone."""
        return True

    @property
    def hash(self) -> str:
        """32 hexadecimal digits, equal for equal settings: part of the identity of each label.

        The version of the program is recorded beside the labels and is no part of it: the machine that plans the
        calculations need not be the one that runs them.
        """
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def name(self) -> str:
        """Level of theory, such as ``PBE-D4/def2-SVP``: the labels' name in datasets."""
        raise NotImplementedError


class TbliteMethod(Method):
    """Extended tight binding by tblite: energies and forces, no ghost atoms."""

    program: Literal["tblite"] = Field("tblite", description="Name of the program.")
    method: Literal["GFN1-xTB", "GFN2-xTB", "IPEA1-xTB"] = Field("GFN2-xTB", description="Hamiltonian.")
    accuracy: Positive = Field(0.01, description="Scales all thresholds; 1 is the program's own default.")
    max_iterations: Annotated[int, Field(gt=0)] = Field(250, description="Self-consistency cycles.")
    electronic_temperature_K: Positive = Field(300.0, description="Of the Fermi smearing (K).")

    @property
    def name(self) -> str:
        """The Hamiltonian."""
        return self.method


class PyscfMethod(Method):
    """Hartree-Fock, density functionals, MP2 or CCSD(T) by PySCF."""

    program: Literal["pyscf"] = Field("pyscf", description="Name of the program.")
    method: Text = Field(description="HF, MP2, CCSD(T), or a density functional by PySCF's name, such as PBE.")
    basis: Text = Field(description="Basis set by PySCF's name, such as def2-TZVP.")
    dispersion: Literal["d3bj", "d3zero", "d4"] | None = Field(
        None, description="Dispersion correction of HF or of a functional, of the real atoms alone."
    )
    density_fitting: bool = Field(True, description="Coulomb and exchange, and MP2, by density fitting.")
    frozen_core: bool = Field(True, description="Correlate valence electrons only; MP2 and CCSD(T).")
    grid_level: Annotated[int, Field(ge=0, le=9)] = Field(3, description="Integration grid of a functional.")
    scf_convergence_Eh: Positive = Field(1e-10, description="Change of the energy between cycles (E_h).")
    max_iterations: Annotated[int, Field(gt=0)] = Field(100, description="Self-consistency cycles.")

    @property
    def correlated(self) -> bool:
        """True for MP2 and CCSD(T), which start from Hartree-Fock."""
        return self.method.upper() in ("MP2", "CCSD(T)")

    @property
    def functional(self) -> bool:
        """True for a density functional."""
        return not self.correlated and self.method.upper() != "HF"

    @property
    def gives_forces(self) -> bool:
        """Of HF, functionals, and MP2 without density fitting: PySCF has no gradient of DF-MP2."""
        return not self.correlated or (self.method.upper() == "MP2" and not self.density_fitting)

    @property
    def name(self) -> str:
        """``PBE-D4/def2-SVP``."""
        dispersion = "" if self.dispersion is None else f"-{self.dispersion.upper()}"
        return f"{self.method}{dispersion}/{self.basis}"

    def _check(self) -> None:
        if self.correlated and self.dispersion is not None:
            raise ValueError(f"dispersion = {self.dispersion!r} is a correction of HF and functionals, not of MP2")


class AseMethod(Method):
    """Any calculator that ASE knows by name, such as lj, emt, psi4; no ghost atoms."""

    program: Literal["ase"] = Field("ase", description="Name of the program.")
    method: Text = Field(description="Name of the calculator in ASE.")
    parameters: dict[str, Scalar] = Field({}, description="Keyword arguments of the calculator.")
    forces: bool = Field(True, description="False where the calculator gives energies alone.")

    @property
    def gives_forces(self) -> bool:
        """As the settings say."""
        return self.forces

    @property
    def name(self) -> str:
        """The calculator's name."""
        return self.method


class OrcaMethod(Method):
    """Inputs for ORCA, run elsewhere; its outputs are read back."""

    program: Literal["orca"] = Field("orca", description="Name of the program.")
    method: Text = Field(description="First word of the keyword line, such as PBE0 or DLPNO-CCSD(T).")
    basis: Text | None = Field(None, description="Basis set; None for composite methods that have their own.")
    dispersion: Literal["D3BJ", "D3ZERO", "D4"] | None = Field(None, description="Dispersion correction.")
    keywords: tuple[Text, ...] = Field((), description="Further words of the keyword line, such as TightSCF.")
    blocks: str = Field("", description="Further blocks of the input, as ORCA reads them.")
    forces: bool = Field(True, description="Ask for the gradient (EnGrad).")

    @property
    def gives_forces(self) -> bool:
        """As the settings say."""
        return self.forces

    @property
    def name(self) -> str:
        """``PBE0-D4/def2-TZVP``."""
        dispersion = "" if self.dispersion is None else f"-{self.dispersion}"
        return f"{self.method}{dispersion}" + ("" if self.basis is None else f"/{self.basis}")


class ExternalMethod(Method):
    """Any other program, run elsewhere: QCSchema in and out, or a table of results."""

    program: Literal["external"] = Field("external", description="Name of the program.")
    code: Text = Field(description="Name of the program.")
    method: Text = Field(description="Method in the program's words; `model.method` of QCSchema.")
    basis: Text | None = Field(None, description="Basis set; `model.basis` of QCSchema.")
    keywords: dict[str, Scalar] = Field({}, description="`keywords` of QCSchema.")
    forces: bool = Field(True, description="Ask for the gradient; False: energies alone.")

    @property
    def gives_forces(self) -> bool:
        """As the settings say."""
        return self.forces

    @property
    def name(self) -> str:
        """``method/basis``."""
        return self.method + ("" if self.basis is None else f"/{self.basis}")


ReferenceMethod = Annotated[
    TbliteMethod | PyscfMethod | AseMethod | OrcaMethod | ExternalMethod, Field(discriminator="program")
]
TBLITE_METHODS: tuple[str, ...] = get_args(TbliteMethod.model_fields["method"].annotation)


def method_of_name(name: str) -> Method:
    """The method of a short name: ``GFN2-xTB`` of tblite, ``PBE-D4/def2-SVP`` or ``MP2/cc-pVDZ`` of PySCF.

    Raises InvalidSettings for a name of another form.
    """
    for known in TBLITE_METHODS:
        if name.lower() == known.lower():
            return TbliteMethod(method=known)
    method, _, basis = name.partition("/")
    if not method or not basis:
        raise InvalidSettings(
            f"method = {name!r}: give {', '.join(TBLITE_METHODS)}, or method/basis such as PBE-D4/def2-SVP."
        )
    functional, _, suffix = method.rpartition("-")
    if functional and suffix.lower() in ("d3bj", "d3zero", "d4"):
        return PyscfMethod(method=functional, basis=basis, dispersion=suffix.lower())
    return PyscfMethod(method=method, basis=basis)


IN_PROCESS = ("tblite", "pyscf", "ase")
"""Programs that the stage calls itself; the others are run elsewhere."""


class ReferenceLabels(Settings):
    """Reference energies and forces of clusters, whole or from a many-body expansion."""

    method: ReferenceMethod = Field(TbliteMethod(), description="Program, method and its parameters.")
    order: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Largest number of molecules of a fragment; None: whole clusters, unfragmented."
    )
    counterpoise: Counterpoise = Field(
        "none",
        description="Basis of a fragment: its own (none), the cluster's (cp), or that of each n-mer it is part of "
        "(vmfc, Valiron-Mayer).",
    )
    charges: dict[str, int] = Field({}, description="Charge by formula of the molecule (Hill order); else 0.")
    multiplicities: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="Spin multiplicity by formula of the molecule; else 1. Unpaired electrons add up."
    )

    @property
    def name(self) -> str:
        """Name of the labels in datasets: the level of theory, and of an expansion its order and counterpoise scheme.

        ``GFN2-xTB``, ``GFN2-xTB[order=2]``, ``PBE-D4/def2-SVP[order=3,vmfc]``.
        """
        if self.order is None:
            return self.method.name
        scheme = "" if self.counterpoise == "none" else f",{self.counterpoise}"
        return f"{self.method.name}[order={self.order}{scheme}]"

    @field_validator("charges", "multiplicities")
    @classmethod
    def _formulas(cls, by_formula: dict[str, object]) -> dict[str, object]:
        for formula in by_formula:
            if not re.fullmatch(r"([A-Z][a-z]?\d*)+", formula):
                raise ValueError(f"{formula!r} is no formula; give one such as 'CH4N2O'")
        return by_formula

    def _check(self) -> None:
        if self.order is None and self.counterpoise != "none":
            raise ValueError(f"counterpoise = {self.counterpoise!r} belongs to fragments: give order as well")
        if self.counterpoise != "none" and self.method.program in ("tblite", "ase"):
            raise ValueError(
                f"counterpoise = {self.counterpoise!r} needs ghost atoms, and {self.method.program} has none: "
                "take counterpoise = 'none' or another program"
            )
