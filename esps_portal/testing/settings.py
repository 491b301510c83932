"""What the command line and the configuration file say about the portals of a test session.

The oldest pytest that this must work with is 7.0: there a setting without a default of its own is
a list, and ``int`` is no type of a setting. So each has a default, and is parsed here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

_TRUTH = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a session's portals are like.

    Attributes:
        host: where they listen.
        port: of the fixture ``esps_portal``; 0 is a free one.
        strict: whether an unexpected call or an unused stub fails a test.
        reset: ``abort`` or ``keep``: what happens to idle connections between two tests.
    """

    host: str
    port: int
    strict: bool
    reset: str


SETTINGS = pytest.StashKey[Settings]()


@dataclasses.dataclass(frozen=True)
class _Setting:
    """One of them: how it is called, what may be said, and how that is read."""

    metavar: str
    default: Any
    what: str
    values: str
    parse: Callable[[str], Any]
    ini_type: str = "string"


def _port(said: str) -> int:
    port = int(said)
    if not 0 <= port <= 0xFFFF:  # noqa: PLR2004 - it is what sixteen bits hold
        raise ValueError(said)
    return port


def _host(said: str) -> str:
    return said or _KNOWN["host"].default


def _truth(said: str) -> bool:
    return _TRUTH[said.lower()]


def _reset(said: str) -> str:
    if said not in {"abort", "keep"}:
        raise ValueError(said)
    return said


# In the TOML tables of newer versions values have types: there a port is a number.
_NUMBER = "int" if pytest.version_tuple >= (8, 4) else "string"

_KNOWN = {
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
        _truth,
        "bool",
    ),
    "reset": _Setting(
        "abort|keep",
        "abort",
        "what happens to idle connections of the fixture esps_portal between two tests (abort)",
        "abort or keep",
        _reset,
    ),
}


def add_settings(parser: pytest.Parser) -> None:
    """Add each setting twice: the command line overrides the configuration file."""
    group = parser.getgroup("esps-portal", "a TCP and UDP peer for tests (esps-portal)")
    for name, setting in _KNOWN.items():
        group.addoption(f"--esps-portal-{name}", metavar=setting.metavar, help=setting.what)
        kind: Any = setting.ini_type
        parser.addini(f"esps_portal_{name}", setting.what, type=kind, default=setting.default)


def read_settings(config: pytest.Config) -> Settings:
    """Return what the command line says, or else the configuration file.

    Raises:
        pytest.UsageError: a setting makes no sense.
    """
    return Settings(**{name: _read(config, name, setting) for name, setting in _KNOWN.items()})


def _read(config: pytest.Config, name: str, setting: _Setting) -> Any:  # noqa: ANN401 - each has its type
    said, where = config.getoption(f"esps_portal_{name}"), f"--esps-portal-{name}"
    try:
        if said is None:
            where = f"esps_portal_{name}"
            said = config.getini(where)
            if not isinstance(said, str | int):
                return setting.default  # the suite has a setting of its own by that name
        return setting.parse(str(said))
    except (KeyError, TypeError, ValueError, pytest.UsageError) as error:
        message = f"{where} is {setting.values}, not what it says: {error}"
        raise pytest.UsageError(message) from error


def where_port_is_set(config: pytest.Config) -> str:
    """Return by which name the port was given."""
    on_command_line = config.getoption("esps_portal_port") is not None
    return "--esps-portal-port" if on_command_line else "esps_portal_port"


def unusual_settings(settings: Settings) -> str:
    """Return the settings that are not the defaults, as ``name=value``; empty if all are."""
    said = {**dataclasses.asdict(settings), "strict": "yes" if settings.strict else "no"}
    usual = {name: setting.default for name, setting in _KNOWN.items()} | {"strict": "yes"}
    return ", ".join(f"{name}={value}" for name, value in said.items() if value != usual[name])
