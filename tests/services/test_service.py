"""What may be declared as a service, and what a declaration says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest

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
    with pytest.raises(ValueError, match="'' is not a name"):
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
