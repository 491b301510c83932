"""What a test learns from its portal: problems, wrong names, reprs, who closed."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from esps_portal import blocking
from esps_portal.testing import (
    ANY,
    PortalController,
    open_memory_portal,
)
from tests.sockets import connected


def test_verify_reports_each_kind_of_problem(portal: PortalController) -> None:
    portal.stub("price", "sku-1").reply("9.99")
    portal.stub("once").reply().times(1)
    portal.stub("half").reply("1").reply("2")
    portal.stub("never").optional()
    portal.fault("drop", chance=0.5, seed=4)
    with connected(portal) as client:
        for request in (b"price sku-2", b"prise", b"once", b"once", b"half"):
            client.call(b"a CALL " + request)
    with pytest.raises(AssertionError) as caught:
        portal.verify()
    report = str(caught.value)
    for part in (
        "unexpected call: price 'sku-2'\n    nearest stub: price 'sku-1': argument 1 is 'sku-2',",
        "unexpected call: prise\n    no stub or service has that name; did you mean price?",
        "unexpected call: once\n    nearest stub: once: it was for 1 call, and is used up",
        "unused stub: price 'sku-1': never used",
        "unused stub: half: used 1 of 2 times",
        "fault by chance, struck 0 times: drop chance=0.5 seed=4",
        "--> a CALL price sku-2",
    ):
        assert part in report
    assert "unused stub: never" not in report


def test_verify_finds_no_problem(portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    with connected(portal) as client:
        client.call(b"a CALL price")
        client.call(b"b CALL echo")
        client.call(b"c CALL fail busy")
    portal.verify()


@pytest.mark.parametrize("bare", [True, False])
def test_a_service_of_the_test(portal: PortalController, *, bare: bool) -> None:
    @(portal.service if bare else portal.service(usage="SKU"))
    def price(sku: bytes) -> bytes:
        return sku * 2

    assert price(b"x") == b"xx"
    with blocking.connect(portal.url) as client:
        assert client.call("price", "x") == (b"xx",)
        assert client.describe("price")[2] == (b"" if bare else b"SKU")
    portal.verify()


def test_a_name_is_a_str(portal: PortalController) -> None:
    wrong: Any = b"price"
    with pytest.raises(TypeError, match="service must be a str"):
        portal.calls(wrong)
    with pytest.raises(ValueError, match="b'price' is not a name: a-z, then"):
        portal.stub(wrong)
    with pytest.raises(ValueError, match="service must be a name"):
        portal.fault("reset", service="No such")
    with pytest.raises(ValueError, match="delay must be seconds, 0 or more, got '1'"):
        portal.stub("price").delay(wrong.decode().replace("price", "1"))
    with pytest.raises(ValueError, match="delay must be seconds, 0 or more, got 1000"):
        portal.stub("price").delay(10**400)


def test_a_stub_that_an_earlier_one_shadows(portal: PortalController) -> None:
    first = portal.stub("price", ANY).reply("1")
    portal.stub("price", "sku-1").reply("9.99")
    for uses in ("1 of 1", "2"):  # "2 of 1" would look like an error
        with connected(portal) as client:
            assert client.call(b"a CALL price sku-1") == b"a OK 1\n"
        (finding,) = portal.problems()
        assert finding.splitlines() == [
            "unused stub: price 'sku-1': never used",
            f"    an earlier stub answers its calls: price ANY: used {uses} times",
        ]
        assert repr(first) == f"<stub price ANY, used {uses}>"


def test_bytes_differ_from_text_that_looks_like_them(portal: PortalController) -> None:
    portal.stub("x", b"\xff\x00").reply()
    portal.stub("x", r"\xff").reply()
    assert portal.problems() == [
        r"unused stub: x b'\xff\x00': never used",
        r"unused stub: x '\\xff': never used",
    ]


async def test_the_repr_of_a_portal(portal: PortalController) -> None:
    where = f"<portal at 127.0.0.1 port {portal.port} (TCP and UDP)"
    assert repr(portal) == f"{where}>"
    portal.stub("price", "sku-1").reply("9.99")
    with portal.fault("reset", service="echo"), portal.down():
        assert (
            repr(portal)
            == f"{where}; 1 stub: price 'sku-1'; 1 fault: reset service=echo; down: refuse>"
        )
    for number in range(9):
        portal.stub(f"many{number}")
    shown = "price 'sku-1', many0, many1, many2, many3, ..."
    assert repr(portal) == f"{where}; 10 stubs: {shown}>"
    async with open_memory_portal() as memory:
        assert repr(memory) == "<portal in memory>"


async def test_dir_has_only_what_a_test_may_use(portal: PortalController) -> None:
    names = dir(portal)
    assert {"calls", "fault", "host", "port", "stub", "url", "wait_for"} <= set(names)
    assert not {"release", "acquire", "place_permanent"} & set(names)
    assert not [name for name in names if name.startswith("_")]
    async with open_memory_portal() as memory:
        assert "open_stream" in dir(memory)


def test_the_repr_of_a_fault_and_of_a_call(portal: PortalController) -> None:
    with portal.fault("reset", service="echo") as fault:
        assert repr(fault) == "<fault reset service=echo, happened 0 times>"
    with connected(portal) as client:
        client.call(b"a CALL echo hi")
    (call,) = portal.calls()
    assert repr(call) == r"<replied over tcp: 'a CALL echo hi', answered 'a OK hi\n'>"


@pytest.mark.parametrize("kind", ["close", "half-close", "truncate", "garbage"])
def test_who_closed_is_known_when_the_client_sees_it(
    portal: PortalController, kind: Literal["close", "half-close", "truncate", "garbage"]
) -> None:
    portal.fault(kind)
    with connected(portal) as client:
        client.send(b"a PING\n")
        client.rest()
        (connection,) = portal.connections()
        assert (connection.closed_by, connection.how, connection.closed) == ("portal", "fin", None)


def test_who_closed_after_a_quit(portal: PortalController) -> None:
    with connected(portal) as client:
        client.send(b"a QUIT\n")
        assert client.rest() == b"a OK\n"
        (connection,) = portal.connections()
        assert (connection.closed_by, connection.how) == ("portal", "fin")
