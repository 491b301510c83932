"""A function that cannot be called as it will be is refused where it is given, not at its call."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from esps_portal.testing import FaultError, lines, peer_in_thread
from esps_portal.user_functions import check_predicate, check_takes


def takes_none() -> None: ...


def takes_one(frame: bytes) -> bool:
    return bool(frame)


def takes_two(frame: bytes, connection: object) -> None: ...


def takes_three(frame: bytes, connection: object, more: object) -> None: ...


def needs_name(frame: bytes, connection: object, *, name: str) -> None: ...


async def is_a(frame: bytes) -> bool:
    return frame == b"a"


class Handlers:
    def bound(self, frame: bytes, connection: object) -> None: ...

    async def __call__(self, frame: bytes, connection: object) -> None: ...


@pytest.mark.parametrize("function", [takes_none, takes_one, takes_three, needs_name])
def test_a_handler_that_cannot_be_called(function: Callable[..., Any]) -> None:
    wanted = f"a handler is called with (frame, connection); {function.__name__}("
    with peer_in_thread(lines()) as peer, pytest.raises(TypeError, match=re.escape(wanted)):
        peer.handler(function)


@pytest.mark.parametrize(
    "function",
    [
        takes_two,
        Handlers().bound,
        Handlers(),
        partial(takes_three, more=1),
        lambda *_: None,
        max,  # written in C: it does not say what it takes
    ],
)
def test_a_handler_that_can_be_called(function: Callable[..., Any]) -> None:
    check_takes(function, "a handler", "frame", "connection")


@pytest.mark.parametrize("function", [re.compile("a").search, bytes.isdigit, takes_one, bool])
def test_a_predicate_that_can_be_called(function: Callable[..., Any]) -> None:
    check_predicate(function, "bytes")


@pytest.mark.parametrize("function", [takes_none, takes_two, is_a])
def test_a_predicate_of_a_stub_and_of_a_fault(function: Callable[..., Any]) -> None:
    why = "a predicate must be a sync function" if function is is_a else "a predicate is called"
    with peer_in_thread(lines()) as peer:
        with pytest.raises(TypeError, match=why):
            peer.stub(function)
        with pytest.raises(FaultError, match=why):
            peer.fault("reset", match=function)
        with pytest.raises(FaultError, match=why):
            peer.fault("reset", reply_match=function)
        assert (peer.problems(), list(peer.exchanges())) == ([], [])
