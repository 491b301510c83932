"""Values that TOML and JSON can hold: bytes as such values, and readers that check them.

A reader takes a value and its path, as in ``stubs[0].answers[1].times``. It raises `ScenarioError`
only, which names that path.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from esps_portal.given_numbers import is_integer, is_seconds
from esps_portal.protocol import grammar
from esps_portal.protocol.escape import shorten
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Value = TypeVar("_Value")
Reader = Callable[[object, str], _Value]

#: The only key of a table that stands for bytes that are not text.
BASE64 = "b64"
#: A key of TOML that needs no quotes.
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Characters of a value, or of an unknown key, that an error quotes: it must fit one line.
_MAX_QUOTED = 60
# Tables and lists inside each other. A scenario needs five; Python's own limit is near 1000, and
# whatever walks over a value, such as its repr, would meet it.
_MAX_NESTING = 64
# Digits of an integer: the largest float has as many. Python refuses more than 4300, in words of
# its own, since the time that they take grows with the square.
_MAX_DIGITS = 309


class ScenarioError(ValueError):
    """A value of a scenario, or of another JSON object, is wrong.

    Attributes:
        path: where it is, as in ``stubs[0].answers[1].times``; empty for the whole.
        message: what is wrong with it.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def join_path(path: str, key: str) -> str:
    """Return the path of a key of what has a path; each may be empty."""
    return f"{path}.{key}" if path and key else path or key


# ---- bytes -------------------------------------------------------------------------------------

BytesValue = str | dict[str, str]


def bytes_to_value(data: bytes) -> BytesValue:
    """Return bytes as text if they are UTF-8, otherwise as ``{"b64": ...}``."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return bytes_to_base64(data)


def bytes_to_base64(data: bytes) -> dict[str, str]:
    """Return bytes as ``{"b64": ...}``, text or not."""
    return {BASE64: base64.b64encode(data).decode()}


def bytes_from_value(value: object) -> bytes:
    """Return the bytes that a value represents.

    Raises:
        ValueError: it represents no bytes; the message says what it must be.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ValueError("text without unpaired surrogates") from None
    if isinstance(value, dict) and value.keys() == {BASE64}:
        try:
            return base64.b64decode(value[BASE64], validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ValueError("base64 in b64") from None
    raise ValueError('text, or {"b64": "..."}')


# ---- JSON --------------------------------------------------------------------------------------


#: Some editors, and PowerShell, begin a UTF-8 file with it (RFC 3629, section 6).
BYTE_ORDER_MARK = "\ufeff"


def read_json(text: str | bytes) -> object:
    """Return a JSON value.

    Raises:
        ScenarioError: it is not JSON, or an object has a key twice; the message says where.
    """
    try:
        value = _DECODER.decode(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        raise ScenarioError("", f"not JSON: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise ScenarioError("", f"not JSON: {error}") from error
    except RecursionError as error:
        raise nested_too_deep() from error
    check_nesting(value)
    return value


def check_nesting(value: object) -> None:
    """Check that tables and lists are not nested too deep to be walked over.

    Raises:
        ScenarioError: they are.
    """
    level = [value]
    for _ in range(_MAX_NESTING + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return
        level = inner
    raise nested_too_deep()


def nested_too_deep() -> ScenarioError:
    """Return the error of a value that cannot be walked over."""
    return ScenarioError("", f"tables and lists are nested deeper than {_MAX_NESTING}")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"duplicate key {quote_key(key)}")
        found[key] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits; at most {_MAX_DIGITS} are accepted")
    return int(digits)


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)


def quote_key(key: str) -> str:
    """Return a key in quotes, as in JSON; shortened, for it may be as long as a whole file."""
    return json.dumps(shorten(key, _MAX_QUOTED))


# ---- tables ------------------------------------------------------------------------------------


@attrs.frozen
class ValueTable:
    """A table of keys and values that knows its own path."""

    values: dict[str, object]
    path: str

    @classmethod
    def of(cls, value: object, path: str, keys: Iterable[str] | None) -> ValueTable:
        """Return a table, checked.

        Args:
            keys: those that it may have; ``None``: any.

        Raises:
            ScenarioError: it is not a table, or has an unknown key.
        """
        if not isinstance(value, dict):
            raise wrong_value(path, "a table of keys and values", value)
        table = cls(value, path)
        if keys is not None:
            names = list(keys)
            for key in value:
                if key not in names:
                    known = f"choose from {', '.join(names)}" if names else "there are none"
                    raise table.error(key, f"unknown key; {known}")
        return table

    def get(self, key: str, read: Reader[_Value], default: _Value) -> _Value:
        """Return the value of a key, read by ``read``; or the default if it is missing."""
        return read(self.values[key], self.path_of(key)) if key in self.values else default

    def required(self, key: str, read: Reader[_Value]) -> _Value:
        """Return the value of a key that must not be missing."""
        if key not in self.values:
            raise self.error(key, "this key is required")
        return read(self.values[key], self.path_of(key))

    def path_of(self, key: str) -> str:
        """Return the path of a key."""
        is_short = len(key) <= _MAX_QUOTED and BARE_KEY.fullmatch(key)
        quoted = key if is_short else quote_key(key)
        return f"{self.path}.{quoted}" if self.path else quoted

    def error(self, key: str, message: str) -> ScenarioError:
        """Return an error about a key."""
        return ScenarioError(self.path_of(key), message)


# ---- readers -----------------------------------------------------------------------------------


def read_list(
    read: Callable[[object, str], _Value], value: object, path: str
) -> tuple[_Value, ...]:
    """Return the values of a list, each read by ``read``."""
    if not isinstance(value, list):
        raise wrong_value(path, "a list", value)
    return tuple(read(item, f"{path}[{number}]") for number, item in enumerate(value))


def read_bytes(value: object, path: str) -> bytes:
    """Return bytes, from text or ``{"b64": ...}``."""
    try:
        return bytes_from_value(value)
    except ValueError as error:
        raise wrong_value(path, str(error), value) from error


def read_text(value: object, path: str) -> str:
    """Return text."""
    if not isinstance(value, str):
        raise wrong_value(path, "text", value)
    return value


def read_name(value: object, path: str) -> str:
    """Return the name of a service, or an error code."""
    if not isinstance(value, str) or not grammar.NAME.fullmatch(value.encode("utf-8", "replace")):
        raise wrong_value(path, "a name (a-z, then up to 63 of a-z 0-9 - . _)", value)
    return value


def read_bool(value: object, path: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise wrong_value(path, "true or false", value)
    return value


def read_positive_integer(value: object, path: str) -> int:
    """Return a positive integer."""
    if not is_integer(value, 1):
        raise wrong_value(path, "a positive integer", value)
    return value


def read_seconds(value: object, path: str) -> float:
    """Return seconds."""
    if is_seconds(value):
        return float(value)
    raise wrong_value(path, "seconds, 0 or more", value)


def wrong_value(path: str, expected: str, value: object) -> ScenarioError:
    """Return the error that a value is not what it must be."""
    try:
        quoted = shorten(json.dumps(value, default=str), _MAX_QUOTED)
    except ValueError:  # TOML has hexadecimal integers, of which Python does not print all
        quoted = "a number of thousands of digits"
    return ScenarioError(path, f"must be {expected}, got {quoted}")
