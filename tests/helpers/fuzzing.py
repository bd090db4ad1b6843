"""Random input: odd values, mutations of text, bytes and settings, and a limit on the time of a case."""

from __future__ import annotations

import reprlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from aiida_mbetrain.errors import MbetrainError

CPU_SECONDS = 30.0
"""Limit of one case."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 10**59, -(10**59), 10**400, 0.0, -0.0, 0.5, 1.5, -1.0, 1e-300, 5e-324, 1e300,
    1e308, float("nan"), float("inf"), -float("inf"), "", " ", "a", "1", "gamma", "nan", "../..", "/etc/passwd", "a\0b",
    "é", "\ud800", "x" * 5000, [], {}, [[]], [{}], {"a": 1}, {1: 2}, {None: []}, [1, 2, 3], [1.0, float("nan")],
    [0, 0, 0], [[1, 0, 0], [0, 1, 0]],
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [10**59] * 3, [1, "a", None], (1,), b"bytes", 1j, {1, 2}, object,
)  # fmt: skip
"""Values that a user, a program or a damaged file can give in place of another."""


WORDS = ("nan", "inf", "1e300", "-1", "?", ".", "9" * 50, "Xx", "'", '"', "[", "{", "\0", "é", "")


class Hang(BaseException):
    """A case took longer than it may; no handler of ordinary errors catches it."""


def nested(depth: int, kind: int = 0) -> Any:
    """Lists or mappings in one another."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind else {"a": value}
    return value


def odd(random: Random) -> Any:
    """An odd value, now and then one of great depth."""
    return (
        nested(random.choice([3, 50, 1000, 3000]), random.randrange(2))
        if random.random() < 0.05
        else random.choice(ODD)
    )


def mutated_tree(random: Random, value: Any) -> Any:
    """A copy of plain values with one of them, or a whole part, replaced, removed or added."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        action = random.randrange(8)
        if action == 0:
            return {name: item for name, item in value.items() if name != key}
        if action == 1:
            return {**value, random.choice([f"{key}x", "", 3, None, "x" * 300]): odd(random)}
        return {**value, key: mutated_tree(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.6:
        index = random.randrange(len(value))
        return [*value[:index], mutated_tree(random, value[index]), *value[index + 1 :]]
    return odd(random)


def mutated_text(random: Random, text: str) -> str:
    """Text with some lines or words removed, repeated, exchanged or replaced."""
    for _ in range(random.randint(1, 3)):
        lines = text.split("\n")
        line = random.randrange(len(lines))
        words = lines[line].split(" ")
        word = random.randrange(len(words))
        action = random.randrange(7)
        if action == 0:
            del lines[line]
        elif action == 1:
            lines.insert(line, lines[random.randrange(len(lines))])
        elif action == 2:
            lines = lines[: line + 1]
        elif action == 3:
            words[word] = random.choice(
                ("nan", "inf", "1e300", "-1", "?", ".", "9" * 50, "Xx", "'", '"', "[", "{", "\0", "é", "")
            )
        elif action == 4:
            del words[word]
        elif action == 5:
            words.insert(word, words[random.randrange(len(words))])
        elif words[word]:
            place = random.randrange(len(words[word]))
            words[word] = words[word][:place] + chr(random.randrange(32, 127)) + words[word][place + 1 :]
        if action > 2:
            lines[line] = " ".join(words)
        text = "\n".join(lines)
    return text


def mutated_bytes(random: Random, content: bytes) -> bytes:
    """Bytes with bits flipped, parts overwritten, cut or repeated."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 4])):
        place = random.randrange(len(changed))
        action = random.randrange(6)
        if action < 3:
            changed[place] ^= 1 << random.randrange(8)
        elif action == 3:
            changed[place : place + 8] = bytes(random.randrange(256) for _ in range(8))
        elif action == 4:
            changed = changed[: max(1, place)]
        else:
            changed[place:place] = changed[place : place + random.randrange(1, 64)]
    return bytes(changed)


@contextmanager
def limited() -> Iterator[None]:
    """Raise Hang inside the block after ``CPU_SECONDS`` of computing."""

    def stop(*_: object) -> None:
        raise Hang(f"more than {CPU_SECONDS} s of computing")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def refused(case: object, call: Callable[[], object]) -> bool:
    """True where the call ends in a named error, False where it accepts; anything else fails the test."""
    try:
        with limited():
            call()
    except MbetrainError as error:
        message = str(error)
    except (Exception, Hang) as error:
        raise AssertionError(f"{reprlib.repr(error)} of {shown(case)}") from error
    else:
        return False
    assert 0 < len(message.strip()) < 20_000, f"{shown(case)}: a message of {len(message)} characters"
    return True


def shown(case: object) -> str:
    """The case, as much of it as helps."""
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist, short.maxstring, short.maxother = 6, 50, 20, 3000, 300
    return short.repr(case)
