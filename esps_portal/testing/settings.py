"""The settings of the plugin, from the command line and from the configuration file.

The oldest supported pytest is 7.0: there a setting without a default is a list, and a setting
cannot have the type ``int``. So each has a default, and is parsed here.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from esps_portal.given_numbers import read_integer, shown_value

_BOOLEANS = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a test session.

    Attributes:
        host: the address where portals listen.
        port: the port of the fixture ``esps_portal``; 0 is a free one.
        strict: whether an unexpected call or an unused stub fails a test.
        reset: ``abort`` or ``keep``: what happens to idle connections between two tests.
        tls: whether the fixture ``esps_portal`` speaks TLS, with a certificate of its own.
    """

    host: str
    port: int
    strict: bool
    reset: str
    tls: bool


SETTINGS = pytest.StashKey[Settings]()


@dataclasses.dataclass(frozen=True)
class _Setting:
    """One setting.

    Attributes:
        metavar: the value's name in pytest's help.
        help: what it is for, with its default.
        values: what it may be, for an error.
        parse: raises `ValueError` or `KeyError` for any other value.
        ini_type: the type of the setting in the configuration file.
    """

    metavar: str
    default: Any
    help: str
    values: str
    parse: Callable[[str], Any]
    ini_type: str = "string"


def _port(value: str) -> int:
    port = read_integer(value)
    if port is None or not 0 <= port <= 0xFFFF:  # noqa: PLR2004 - the largest number of 16 bits
        raise ValueError(value)
    return port


def _host(value: str) -> str:
    return value or _SETTINGS["host"].default


def _boolean(value: str) -> bool:
    return _BOOLEANS[value.lower()]


def _reset(value: str) -> str:
    if value not in {"abort", "keep"}:
        raise ValueError(value)
    return value


# In newer versions values in TOML tables have types: there a port is a number.
_NUMBER = "int" if pytest.version_tuple >= (8, 4) else "string"

_SETTINGS = {
    "host": _Setting(
        "ADDRESS", "127.0.0.1", "the address where portals listen (127.0.0.1)", "an address", _host
    ),
    "port": _Setting(
        "NUMBER",
        0,
        "the port of the fixture esps_portal (0, a free one)",
        "a number from 0 to 65535",
        _port,
        _NUMBER,
    ),
    "strict": _Setting(
        "yes|no",
        True,  # noqa: FBT003 - one column of a table
        "whether an unexpected call, an unused stub or a fault that never struck fails a test"
        " (yes)",
        "yes or no",
        _boolean,
        "bool",
    ),
    "reset": _Setting(
        "abort|keep",
        "abort",
        "what happens to idle connections of the fixture esps_portal between two tests (abort)",
        "abort or keep",
        _reset,
    ),
    "tls": _Setting(
        "yes|no",
        False,  # noqa: FBT003 - one column of a table
        "whether the fixture esps_portal speaks TLS, and not UDP; its tls_ca is to be trusted (no)",
        "yes or no",
        _boolean,
        "bool",
    ),
}


def add_settings(parser: pytest.Parser) -> None:
    """Add each setting twice: the command line overrides the configuration file."""
    group = parser.getgroup("esps-portal", "a TCP and UDP peer for tests (esps-portal)")
    for name, setting in _SETTINGS.items():
        group.addoption(f"--esps-portal-{name}", metavar=setting.metavar, help=setting.help)
        kind: Any = setting.ini_type
        parser.addini(f"esps_portal_{name}", setting.help, type=kind, default=setting.default)


def taken_option(parser: pytest.Parser, error: BaseException | None) -> str:
    """Return which of our options somebody else has added too; empty if none.

    Args:
        parser: before pytest 9, it finds out only when it parses.
        error: what was raised when conftest files were loaded.
    """
    if error is None:
        try:
            parser.parse_known_args([])
        except Exception as problem:  # noqa: BLE001 - pytest will raise it again, for itself
            error = problem
    if not isinstance(error, ValueError | argparse.ArgumentError):
        return ""
    options = (f"--esps-portal-{name}" for name in _SETTINGS)
    return next((option for option in options if option in str(error)), "")


def read_settings(config: pytest.Config) -> Settings:
    """Return what the command line says, or else the configuration file.

    Raises:
        pytest.UsageError: a setting has a wrong value.
    """
    return Settings(**{name: _read(config, name, setting) for name, setting in _SETTINGS.items()})


def _read(config: pytest.Config, name: str, setting: _Setting) -> Any:  # noqa: ANN401 - each has its type
    value, where = config.getoption(f"esps_portal_{name}"), f"--esps-portal-{name}"
    try:
        if value is None:
            where = f"esps_portal_{name}"
            value = config.getini(where)
            if not isinstance(value, str | int):
                return setting.default  # the suite has a setting of its own by that name
        return setting.parse(str(value))
    except (KeyError, TypeError, ValueError, pytest.UsageError) as error:
        # Without a value, pytest itself could not read it.
        got = f": {error}" if value is None else f", got {shown_value(str(value))}"
        raise pytest.UsageError(f"{where} must be {setting.values}{got}") from error


def where_set(config: pytest.Config, name: str) -> str:
    """Return the option or the setting of the configuration file that gave a value."""
    on_command_line = config.getoption(f"esps_portal_{name}") is not None
    return f"--esps-portal-{name}" if on_command_line else f"esps_portal_{name}"


def unusual_settings(settings: Settings) -> str:
    """Return the settings that are not the defaults, as ``name=value``; empty if all are."""
    given = dataclasses.asdict(settings).items()
    unusual = {name: value for name, value in given if value != _SETTINGS[name].default}
    words = {True: "yes", False: "no"}
    return ", ".join(
        f"{name}={words[value] if isinstance(value, bool) else value}"
        for name, value in unusual.items()
    )
