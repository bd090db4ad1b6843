"""Equations of state E(V): cubic polynomial, third-order Birch-Murnaghan, Vinet.

All three have four parameters and are written in the same ones: the minimum (V0, E0), the bulk modulus B0 = V E''
and its pressure derivative B0' there.  For the cubic polynomial that means E'' = B0/V0 and
E''' = -(B0' + 1) B0/V0² at V0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import units
from numpy.polynomial import Polynomial
from scipy.optimize import least_squares

from aiida_mbetrain.errors import NoEquilibriumVolume, NotEnoughVolumes
from aiida_mbetrain.science.configurations import FloatArray

Form = Literal["polynomial", "birch_murnaghan", "vinet"]
N_PARAMETERS = 4


@dataclass(frozen=True)
class EquationOfState:
    """A curve E(V) with a minimum.

    energy_0: eV.  volume_0: Å³.  bulk_modulus: at the minimum, eV/Å³.  bulk_modulus_prime: dB/dp there.
    rmse: root mean square deviation of the fitted points, eV.
    """

    form: Form
    energy_0: float
    volume_0: float
    bulk_modulus: float
    bulk_modulus_prime: float
    rmse: float = 0.0

    @property
    def bulk_modulus_GPa(self) -> float:
        """B0 in GPa."""
        return self.bulk_modulus / units.GPa

    def energy(self, volumes: FloatArray | float) -> FloatArray:
        """E(V), eV."""
        v = np.asarray(volumes, dtype=float)
        e0, v0, b0, bp = self.energy_0, self.volume_0, self.bulk_modulus, self.bulk_modulus_prime
        if self.form == "polynomial":
            s = v / v0 - 1
            return e0 + b0 * v0 * (s**2 / 2 - (bp + 1) * s**3 / 6)
        if self.form == "birch_murnaghan":
            # Birch, Phys. Rev. 71, 809 (1947), with the Eulerian strain f = s/2.
            s = (v0 / v) ** (2 / 3) - 1
            return e0 + 9 / 16 * b0 * v0 * (bp * s**3 + s**2 * (2 - 4 * s))
        # Vinet et al., J. Phys. Condens. Matter 1, 1941 (1989).
        x, c = np.cbrt(v / v0), 1.5 * (bp - 1)
        return e0 + 9 * b0 * v0 / c**2 * (1 + (c * (1 - x) - 1) * np.exp(c * (1 - x)))

    def pressure(self, volumes: FloatArray | float) -> FloatArray:
        """-dE/dV, eV/Å³."""
        v = np.asarray(volumes, dtype=float)
        v0, b0, bp = self.volume_0, self.bulk_modulus, self.bulk_modulus_prime
        pressure: FloatArray
        if self.form == "polynomial":
            s = v / v0 - 1
            return -b0 * (s - (bp + 1) * s**2 / 2)
        if self.form == "birch_murnaghan":
            eta = np.cbrt(v0 / v)
            pressure = 1.5 * b0 * (eta**7 - eta**5) * (1 + 0.75 * (bp - 4) * (eta**2 - 1))
            return pressure
        x = np.cbrt(v / v0)
        pressure = 3 * b0 * (1 - x) / x**2 * np.exp(1.5 * (bp - 1) * (1 - x))
        return pressure


def fit_equation_of_state(
    volumes: Sequence[float] | FloatArray, energies: Sequence[float] | FloatArray, *, form: Form = "polynomial"
) -> EquationOfState:
    """Least-squares fit of E(V), volumes in Å³ and energies in eV, (n,) each, n >= 4.

    Raises NotEnoughVolumes, and NoEquilibriumVolume when the fitted curve has no minimum.
    """
    v, e = np.asarray(volumes, dtype=float), np.asarray(energies, dtype=float)
    if len(np.unique(v)) < N_PARAMETERS:
        raise NotEnoughVolumes(
            f"An equation of state has {N_PARAMETERS} parameters, {len(np.unique(v))} volumes are left for it: "
            "sample more volumes or relax the filters that leave volumes out."
        )
    fitted = {"polynomial": _fit_polynomial, "birch_murnaghan": _fit_birch_murnaghan, "vinet": _fit_vinet}[form](v, e)
    return replace(fitted, rmse=float(np.sqrt(np.mean((fitted.energy(v) - e) ** 2))))


def _fit_polynomial(volumes: FloatArray, energies: FloatArray) -> EquationOfState:
    cubic = Polynomial.fit(volumes, energies, 3)
    v0 = _minimum(cubic)
    second, third = float(cubic.deriv(2)(v0)), float(cubic.deriv(3)(v0))
    return EquationOfState("polynomial", float(cubic(v0)), v0, v0 * second, -1 - v0 * third / second)


def _fit_birch_murnaghan(volumes: FloatArray, energies: FloatArray) -> EquationOfState:
    """A cubic in u = V^(-2/3), so the fit is linear and needs no starting point."""
    cubic = Polynomial.fit(volumes ** (-2 / 3), energies, 3)
    u = _minimum(cubic)
    v0 = u**-1.5
    # Chain rule at dE/du = 0.
    first_of_u, second_of_u = -2 / 3 * u / v0, 10 / 9 * u / v0**2
    p2, p3 = float(cubic.deriv(2)(u)), float(cubic.deriv(3)(u))
    second, third = p2 * first_of_u**2, p3 * first_of_u**3 + 3 * p2 * first_of_u * second_of_u
    return EquationOfState("birch_murnaghan", float(cubic(u)), v0, v0 * second, -1 - v0 * third / second)


def _fit_vinet(volumes: FloatArray, energies: FloatArray) -> EquationOfState:
    """Starts from Birch-Murnaghan; in units of its parameters, so that all four have the same scale."""
    start = _fit_birch_murnaghan(volumes, energies)
    scale = start.bulk_modulus * start.volume_0

    def curve(p: FloatArray) -> EquationOfState:
        energy, volume, modulus, prime = p
        return EquationOfState(
            "vinet",
            start.energy_0 + energy * scale,
            start.volume_0 * volume,
            start.bulk_modulus * modulus,
            start.bulk_modulus_prime * prime,
        )

    def deviations(p: FloatArray) -> FloatArray:
        return (curve(p).energy(volumes) - energies) / scale

    fit = least_squares(deviations, [0.0, 1.0, 1.0, 1.0], xtol=1e-14, ftol=1e-14, gtol=1e-14)
    result = curve(fit.x)
    if not (fit.success and result.volume_0 > 0 and result.bulk_modulus > 0):
        raise NoEquilibriumVolume("The Vinet fit found no minimum: sample volumes on both sides of it.")
    return result


def _minimum(cubic: Polynomial) -> float:
    """The one stationary point of a cubic with positive curvature, at a positive argument."""
    roots = cubic.deriv().roots()
    real = roots[np.abs(np.imag(roots)) < 1e-12 * np.abs(roots)].real
    minima = [float(root) for root in real if root > 0 and cubic.deriv(2)(root) > 0]
    if not minima:
        raise NoEquilibriumVolume("The fitted energy has no minimum: sample volumes on both sides of it.")
    return minima[0]
