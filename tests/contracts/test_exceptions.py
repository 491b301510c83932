"""Every exception of the package can be pickled and copied without loss."""

from __future__ import annotations

import copy
import errno
import importlib
import pickle
import pkgutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import esps_portal
from esps_portal.net.bind import CannotBindError
from tests.cases import cases

_E = TypeVar("_E", bound=BaseException)

#: The arguments of those that take more than a message.
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "CannotBindError": (OSError(errno.EADDRINUSE, "Address in use"), "127.0.0.1", 2867, "tcp"),
    "CannotRecordError": (Path("calls.jsonl"), "No space left on device"),
    "HttpError": (400, "not JSON"),
    "MismatchError": ("line", "a OK", b"a ERR busy", ""),
    "ProtocolError": ("bad-line", "no verb"),
    "RecordingError": (3, "not JSON"),
    "ReplyError": ("busy", "try again", b"\xff"),
    "ScenarioError": ("stubs[0]", "this key is needed"),
}


def exceptions() -> list[type[BaseException]]:
    found: dict[str, type[BaseException]] = {}
    for module in pkgutil.walk_packages(esps_portal.__path__, "esps_portal."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseException):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found) if name.startswith("esps_portal.")]


def pickled(error: _E) -> _E:
    back: _E = pickle.loads(pickle.dumps(error))  # noqa: S301 - it is our own
    return back


@cases("kind", exceptions())
def test_a_copy_is_equal(kind: type[BaseException]) -> None:
    error = kind(*ARGUMENTS.get(kind.__name__, ("why",)))
    error.add_note("while testing")
    ways: list[Callable[[BaseException], BaseException]] = [pickled, copy.copy, copy.deepcopy]
    for back in (way(error) for way in ways):
        assert type(back) is kind
        assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))
        if isinstance(error, OSError):
            assert isinstance(back, OSError)
            assert (back.errno, back.strerror) == (error.errno, error.strerror)


def test_an_unknown_host_survives_pickling() -> None:
    cause = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    back = pickled(CannotBindError(cause, "nowhere.invalid", 1, "tcp", covered_by="::"))
    assert (back.is_unknown_host, back.covered_by) == (True, "::")


def test_all_exceptions_are_found() -> None:
    names = {kind.__name__ for kind in exceptions()}
    assert set(ARGUMENTS) <= names
    assert {"CannotWriteError", "NotCalledError", "UnreachableError"} <= names
