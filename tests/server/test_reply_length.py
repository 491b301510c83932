"""No line is longer than its client is known to accept, whatever the portal itself accepts."""

from __future__ import annotations

import pytest

from esps_portal import CallContext, Limits, Portal, ReplyError
from tests.portals import running

LIMITS = Limits(max_line=20_000, max_unterminated=65_536)


def portal(limits: Limits = LIMITS) -> Portal:
    made = Portal(limits=limits)

    @made.service
    def long(size: bytes) -> bytes:
        return b"x" * int(size)

    @made.service
    async def slow(size: bytes) -> bytes:
        return b"x" * int(size)

    @made.service
    async def rows(size: bytes, *, call: CallContext) -> None:
        await call.data(b"x" * int(size))

    @made.service
    def refuse(size: bytes) -> None:
        raise ReplyError("x-no", "x" * int(size))

    @made.service(idempotent=True)
    def echo(*args: bytes) -> tuple[bytes, ...]:
        return args

    return made


@pytest.mark.parametrize("service", [b"long", b"slow", b"rows", b"refuse"])
async def test_a_longer_line_is_a_failure(service: bytes) -> None:
    # ESPS-LINE-25, ESPS-LINE-26, ESPS-VERB-16
    async with running(portal()) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL %b 8000\n" % service)
        assert (await client.line()).startswith((b"a OK xxx", b"a DATA xxx", b"a ERR x-no xxx"))
        if service == b"rows":
            assert await client.line() == b"a OK"
        await client.send(b"b CALL %b 8190\n" % service)
        assert (await client.line()).startswith(b"b ERR failed ")


@pytest.mark.parametrize("request_", [b"PING", b"CALL echo"])
@pytest.mark.parametrize("argument", [b"x" * 15_000, b"%00" * 5_000])
async def test_what_a_client_has_sent_it_also_accepts(request_: bytes, argument: bytes) -> None:
    # ESPS-LINE-25, ESPS-VERB-5
    async with running(portal()) as listening:
        client = await listening.tcp()
        await client.send(b"0 PING\na %b %b\n" % (request_, argument))
        assert await client.line() == b"0 OK"
        assert await client.line() == b"a OK " + argument


@pytest.mark.parametrize("verb", [b"LIST", b"HELLO ESPS/1"])
async def test_a_list_and_a_hello_have_a_bound_too(verb: bytes) -> None:
    # ESPS-LINE-25, ESPS-LINE-26
    made = portal()
    made.product = "p" * 8150
    for number in range(200):
        made.service(name="n" * 60 + str(number))(lambda: None)
    async with running(made) as listening:
        client = await listening.connect()
        assert (await client.line()).startswith(b"* ESPS/1 ppp")
        await client.send(b"a %b\nb PING\n" % verb)
        assert (await client.line()).startswith(b"a ERR failed ")
        assert await client.line() == b"b OK"


async def test_who_knows_its_clients_may_send_more() -> None:
    limits = Limits(max_line=20_000, max_reply=20_000)
    async with running(portal(limits)) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL long 15000\n")
        assert await client.line() == b"a OK " + b"x" * 15_000


@pytest.mark.parametrize("service", [b"long", b"slow", b"rows", b"refuse"])
async def test_the_answer_to_a_long_request_may_be_as_long(service: bytes) -> None:
    # ESPS-LINE-25, ESPS-LINE-26: the padding counts
    async with running(portal(Limits(max_reply=512))) as listening:
        client = await listening.tcp()
        request = b"a CALL %b 600 " % service
        await client.send(request + b"#" * 500 + b"\n")
        assert (await client.line()).startswith(b"a ERR failed ")
        await client.send(request + b"#" * 800 + b"\n")
        assert b"x" * 600 in await client.line()


@pytest.mark.parametrize("argument", [b"x" * 700, b"%78" + b"x" * 699])
async def test_the_answer_to_a_long_request_without_padding_too(argument: bytes) -> None:
    made = portal(Limits(max_reply=512))

    @made.service(idempotent=True)
    def longer(*args: bytes) -> tuple[bytes, ...]:
        return args[0] + b"x", *args[1:]

    async with running(made) as listening:
        client = await listening.tcp()
        await client.send(b"0 PING\na CALL longer %b\n" % argument)
        assert await client.line() == b"0 OK"
        assert await client.line() == b"a OK " + b"x" * 701
        await client.send(b"a CALL longer %b y\n" % (b"x" * 500))
        assert await client.line() == b"a OK " + b"x" * 501 + b" y"
