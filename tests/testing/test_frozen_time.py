"""A test may freeze time: its portal, and the client that it blocks on, go on all the same."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import importlib
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from esps_portal import TimedOutError, blocking
from esps_portal.testing import serve_in_thread
from tests.patience import PATIENCE

_DAY = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_CLOCKS = (time.time, time.monotonic, time.perf_counter)


def _by_replacement() -> AbstractContextManager[object]:
    """Replace the clocks wherever a module has them, as the tools do."""
    stack = contextlib.ExitStack()
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for clock in _CLOCKS:
        frozen = functools.partial(float, clock())
        for module in list(sys.modules.values()):
            for name, value in list(vars(module).items()):
                if value is clock:
                    patch.setattr(module, name, frozen)
    return stack


def _by_freezegun() -> AbstractContextManager[object]:
    tool = _tool("freezegun")
    frozen: AbstractContextManager[object] = tool.freeze_time(_DAY)
    return frozen


def _by_time_machine() -> AbstractContextManager[object]:
    tool = _tool("time_machine")
    frozen: AbstractContextManager[object] = tool.travel(_DAY, tick=False)
    return frozen


def _tool(name: str) -> Any:  # noqa: ANN401 - a module without types
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("freeze", [_by_replacement, _by_freezegun, _by_time_machine])
def test_time_stands_still(freeze: Callable[[], AbstractContextManager[object]]) -> None:
    """What is late still comes, and who waits still gives up."""
    with (
        freeze(),
        serve_in_thread() as portal,
        blocking.connect(f"127.0.0.1:{portal.port}", timeout=PATIENCE) as client,
    ):
        fault = portal.fault("latency", seconds=0.01, service="echo", times=1)
        assert client.call("echo", "late") == (b"late",)
        fault.wait_for(timeout=PATIENCE)
        portal.wait_for("echo", timeout=PATIENCE)
        portal.fault("latency", seconds=1000, service="count")
        with pytest.raises(TimedOutError):
            client.call("count", timeout=0.01)
        with pytest.raises(AssertionError):
            portal.wait_for("add", timeout=0.01)
