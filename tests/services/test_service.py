"""What may be declared as a service, and what a declaration says of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from esps_portal import Portal
from esps_portal.services.call import CallContext
from esps_portal.services.service import Service


def plain(first: bytes, second: bytes = b"") -> bytes:
    """Join two.

    LIST shows the first line only.
    """
    return first + second


async def row_of(*args: bytes, call: CallContext) -> None:
    await call.data(*args)


def test_a_declaration_is_read_from_the_function() -> None:
    service = Service.declare(plain)
    assert (service.name, service.summary, service.flags) == ("plain", "Join two.", "-")
    assert (service.min_args, service.max_args) == (1, 2)
    assert (service.is_sync, service.wants_call, service.is_always_admitted) == (True, False, False)


def test_an_async_function_is_an_async_service() -> None:
    service = Service.declare(row_of, idempotent=True, transports=["tcp"])
    assert (service.name, service.flags) == ("row-of", "ait")
    assert (service.min_args, service.max_args > 1000) == (0, True)
    assert (service.is_sync, service.wants_call, service.is_always_admitted) == (False, True, False)


def test_a_callable_without_a_name_needs_one() -> None:
    nameless = partial(plain, b"a")
    with pytest.raises(ValueError, match=r"of functools\.partial.* needs a name: .*\(name="):
        Service.declare(nameless)
    service = Service.declare(nameless, name="after-a")
    assert (service.min_args, service.max_args) == (0, 1)


def test_an_async_generator_is_refused() -> None:
    async def ticks() -> AsyncIterator[bytes]:
        yield b"tick"

    with pytest.raises(TypeError, match=r"await call\.data\(\.\.\.\)"):
        Service.declare(ticks)  # type: ignore[arg-type]


@pytest.mark.parametrize("transports", [[], ["sctp"], ["tcp", "tls"]])
def test_wrong_transports_are_refused(transports: list[str]) -> None:
    with pytest.raises(ValueError, match="transports must be tcp, udp or both, got"):
        Service.declare(plain, transports=transports)


def _hidden() -> None: ...


@pytest.mark.parametrize(
    ("function", "own"), [(lambda *_: b"x", "<lambda>"), (_hidden, "_hidden")], ids=["lambda", "_"]
)
def test_a_function_whose_name_is_no_service_name(function: Callable[..., Any], own: str) -> None:
    wanted = f"the service of function {own} needs a name: @portal.service(name=...)"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        Service.declare(function)
    assert Service.declare(function, name="x").name == "x"


def test_a_given_name_that_is_no_service_name() -> None:
    with pytest.raises(ValueError, match=r"^'' is not a name: a-z, then"):
        Service.declare(plain, name="")
    with pytest.raises(ValueError, match=r"^'Big' is not a name: a-z, then"):
        Service.declare(plain, name="Big")


class Shop:
    def __call__(self, *args: bytes) -> tuple[bytes, ...]:
        return args


def _ticks() -> Iterator[bytes]:
    yield b"tick"


def _needs_more(first: bytes, *, shop: Shop) -> None: ...


def _call_first(call: CallContext, first: bytes) -> None: ...


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("price", "got 'price': name one with @portal.service(name='price')"),
        (3, "a service must be a function, got 3"),
        (None, "a service must be a function, got None"),
        (Shop, "a service must be a function, got the class Shop: give an instance of it"),
        (_ticks, "with `await call.data(...)`, in an async def, not with yield"),
        (_needs_more, "by position, and call= alone by keyword: its shop has no value"),
        (_call_first, "call of a service must be keyword-only: put it last, after `*, `"),
    ],
)
def test_what_is_no_function_for_a_service(given: object, why: str) -> None:
    with pytest.raises(TypeError, match=re.escape(why)):
        Service.declare(given, name="x")  # type: ignore[arg-type]


def test_a_name_in_place_of_the_function() -> None:
    with pytest.raises(TypeError, match=re.escape("@portal.service(name='price')")):
        Portal().service("price")  # type: ignore[call-overload]


@pytest.mark.parametrize("function", [Shop(), bytes.upper, max])
def test_what_else_can_be_called(function: Callable[..., Any]) -> None:
    assert Service.declare(function, name="x").takes(1)


@pytest.mark.parametrize(
    ("declaration", "why"),
    [
        ({"nmae": "x"}, "with name, summary, usage, idempotent, transports, not with nmae"),
        ({"name": b"x"}, "name of a service must be text, got b'x'"),
        ({"usage": 3}, "usage of a service must be text, got 3"),
        ({"idempotent": "no"}, "idempotent must be true or false, got 'no'"),
    ],
)
def test_a_wrong_keyword(declaration: dict[str, object], why: str) -> None:
    with pytest.raises(TypeError, match=re.escape(why)):
        Service.declare(plain, **declaration)  # type: ignore[arg-type]


def test_one_transport_as_text() -> None:
    assert Service.declare(plain, transports="tcp").transports == {"tcp"}
    with pytest.raises(ValueError, match=re.escape("got ['sctp']")):
        Service.declare(plain, transports="sctp")


def test_a_client_sees_how_many_arguments_there_are() -> None:
    assert Service.declare(plain).count_error(3) == "plain takes 1 to 2 arguments, got 3"
    needs_one = Service.declare(lambda _, *_more: None, name="x")
    assert needs_one.count_error(0) == "x takes 1 or more arguments, got 0"
    assert Service.declare(lambda: None, name="x").count_error(1) == "usage: CALL x"
    assert Service.declare(plain, usage="A [B]").count_error(3) == "usage: CALL plain A [B]"
