"""Plain values, as TOML and JSON carry them: octets among them, and reading them with care.

A reader takes a value and the path that leads to it, as in ``stubs[0].answers[1].times``, and
raises nothing but `ScenarioError`, which names that path.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from esps_portal.protocol import grammar
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Value = TypeVar("_Value")
Reader = Callable[[object, str], _Value]

#: The one key of a table that represents octets that are not text.
BASE64 = "b64"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # TOML's
# Characters shown of a value: an error is one line.
_SHOWN = 60


class ScenarioError(ValueError):
    """A plain value is not what it should be.

    Attributes:
        path: the key, as in ``stubs[0].answers[1].times``; empty for the whole.
        message: what is wrong with it.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


# ---- octets ------------------------------------------------------------------------------------

PlainOctets = str | dict[str, str]


def plain_octets(octets: bytes) -> PlainOctets:
    """Return octets as text where they are UTF-8, else as ``{"b64": ...}``."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return in_base64(octets)


def in_base64(octets: bytes) -> dict[str, str]:
    """Return octets as ``{"b64": ...}``, text or not."""
    return {BASE64: base64.b64encode(octets).decode()}


def octets_of(plain: object) -> bytes:
    """Return the octets that a plain value represents.

    Raises:
        ValueError: it represents none; the message says what would, or what is wrong.
    """
    if isinstance(plain, str):
        try:
            return plain.encode()
        except UnicodeEncodeError:
            raise ValueError("text that UTF-8 can carry, without half a surrogate pair") from None
    if isinstance(plain, dict) and plain.keys() == {BASE64}:
        try:
            return base64.b64decode(plain[BASE64], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ValueError("base64 in b64") from None
    raise ValueError('text, or {"b64": "..."}')


# ---- JSON --------------------------------------------------------------------------------------


def read_json(text: str | bytes) -> object:
    """Return a JSON value, in which no object has a key twice.

    Raises:
        ScenarioError: it is not JSON, and where.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ScenarioError("", f"not JSON: {error}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(twice)} is there twice")
    return found


# ---- tables ------------------------------------------------------------------------------------


@attrs.frozen
class Table:
    """A table of plain values that knows its own path."""

    values: dict[str, object]
    path: str

    @classmethod
    def of(cls, plain: object, path: str, keys: Iterable[str] | None) -> Table:
        """Return a table.

        Args:
            keys: the known ones; ``None`` takes any.

        Raises:
            ScenarioError: it is not a table, or has other keys.
        """
        if not isinstance(plain, dict):
            raise ScenarioError(path, f"a table of keys and values, not {shown(plain)}")
        table = cls(plain, path)
        if keys is not None:
            names = list(keys)
            for key in plain:
                if key not in names:
                    known = f"there are {', '.join(names)}" if names else "it takes none"
                    raise table.error(key, f"there is no such key; {known}")
        return table

    def get(self, key: str, read: Reader[_Value], default: _Value) -> _Value:
        """Return the value of a key, or the default."""
        return read(self.values[key], self.where(key)) if key in self.values else default

    def required(self, key: str, read: Reader[_Value]) -> _Value:
        """Return the value of a key that must be there."""
        if key not in self.values:
            raise self.error(key, "this key is needed")
        return read(self.values[key], self.where(key))

    def where(self, key: str) -> str:
        """Return the path of a key."""
        written = key if _BARE_KEY.fullmatch(key) else json.dumps(key)
        return f"{self.path}.{written}" if self.path else written

    def error(self, key: str, words: str) -> ScenarioError:
        """Return an error about a key."""
        return ScenarioError(self.where(key), words)


# ---- values ------------------------------------------------------------------------------------


def read_row(read: Callable[[object, str], _Value], plain: object, path: str) -> tuple[_Value, ...]:
    """Return the values of a list, each read by ``read``."""
    if not isinstance(plain, list):
        raise ScenarioError(path, f"a list, not {shown(plain)}")
    return tuple(read(value, f"{path}[{number}]") for number, value in enumerate(plain))


def read_octets(plain: object, path: str) -> bytes:
    """Return octets: text, or ``{"b64": ...}``."""
    try:
        return octets_of(plain)
    except ValueError as error:
        raise ScenarioError(path, f"{error}, not {shown(plain)}") from error


def read_text(plain: object, path: str) -> str:
    """Return text."""
    if not isinstance(plain, str):
        raise ScenarioError(path, f"text, not {shown(plain)}")
    return plain


def read_name(plain: object, path: str) -> str:
    """Return the name of a service or an error."""
    if not isinstance(plain, str) or not grammar.NAME.fullmatch(plain.encode("utf-8", "replace")):
        words = "a name (a-z, then up to 63 of a-z 0-9 - . _)"
        raise ScenarioError(path, f"{words}, not {shown(plain)}")
    return plain


def read_truth(plain: object, path: str) -> bool:
    """Return true or false."""
    if not isinstance(plain, bool):
        raise ScenarioError(path, f"true or false, not {shown(plain)}")
    return plain


def read_count(plain: object, path: str) -> int:
    """Return a number from 1 on."""
    if type(plain) is not int or plain < 1:
        raise ScenarioError(path, f"a number from 1 on, not {shown(plain)}")
    return plain


def read_seconds(plain: object, path: str) -> float:
    """Return seconds."""
    # A whole number may be longer than any float.
    if (
        isinstance(plain, int | float)
        and not isinstance(plain, bool)
        and 0 <= plain <= sys.float_info.max
    ):
        return float(plain)
    raise ScenarioError(path, f"seconds, 0 or more, not {shown(plain)}")


def shown(plain: object) -> str:
    """Return a value for an error's words: bounded, on one line."""
    text = json.dumps(plain, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
