"""The allocator's tuning."""

from __future__ import annotations

import ctypes
import platform

import pytest

from aiida_mbetrain.science.potentials.mace.malloc import tune_malloc


@pytest.fixture(autouse=True)
def _forget():
    tune_malloc.cache_clear()
    yield
    tune_malloc.cache_clear()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_glibc_takes_the_options():
    assert tune_malloc()


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("touched the C library"))
    assert not tune_malloc()


def test_a_library_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not tune_malloc()


def test_the_options_are_set_once(monkeypatch):
    calls = []

    class Library:
        def mallopt(self, option, value):
            calls.append(option)
            return 1

    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    assert tune_malloc()
    assert tune_malloc()
    assert sorted(calls) == [-4, -2, -1]
