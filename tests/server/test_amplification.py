"""How much more a portal sends over UDP than it gets, over every verb and every service.

The bound of the specification is 3 times, of what UDP carries. With the headers of IP and UDP, 28
bytes over IPv4 on either side, it is less (section 13.2).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import trio.testing

from esps_portal.product import PRODUCT
from esps_portal.protocol.registry import VERBS
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import DatagramPeer, running

BOUND = 3.0
# IPv4 without options (RFC 791), and UDP (RFC 768).
HEADERS = 20 + 8

ARGUMENTS = {
    "HELLO": ["ESPS/1", "ESPS/2", "", "x", "ESPS/2 ESPS/1"],
    "PING": ["", "x", '""', "%00%00"],
    "LIST": ["", *(service.name for service in builtin_portal(PRODUCT).services), "x", "x y"],
    "CANCEL": ["", "x"],
    "QUIT": ["", "x"],
    "OK": [""],
    "nonsense": ["", "x"],
    "": ["", "x  y"],
}
OF_SERVICES = {
    "chargen": ["0", "1", "1 1", "9 512", "100000 512", "x"],
    "random": ["0", "1", "2048", "2048 x", "x"],
    "delay": ["0", "0 x", "x"],
    "drip": ["0 0", "1 0", "9 0", "x"],
    "count": ["", "x", "x y", "n" * 65],
    "fail": ["busy", "x-y z", "too-large 9", "Busy", ""],
}
PADDING = [0, 1, 2, 5, 10, 30, 100, 400]


def datagrams() -> Iterator[bytes]:
    verbs = {verb.decode(): ["", "x"] for verb in VERBS} | ARGUMENTS
    requests = [f"{verb} {args}" for verb, each in verbs.items() for args in each]
    for service in builtin_portal(PRODUCT).services:
        of_service = OF_SERVICES.get(service.name, ["", "x", "x y z"])
        requests += [f"CALL {service.name} {args}" for args in of_service]
    for number, request in enumerate(requests):
        for padding in PADDING:
            for tag in (f"{number:x}", f"{number:x}".rjust(32, "t")):
                line = f"{tag}.{padding} {request}".rstrip(" ")
                yield f"{line[-8000:]} {'#' * padding}".rstrip(" ").encode() + b"\n"


async def answer_to(peer: DatagramPeer, datagram: bytes) -> bytes:
    """Return the answer; empty if there is none."""
    peer.send(datagram)
    await trio.testing.wait_all_tasks_blocked()  # the portal has done all that it will do
    try:
        return peer.socket.recv(65536, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


async def test_no_reply_is_longer_than_three_requests() -> None:
    # ESPS-UDP-12
    worst = worst_with_headers = 0.0
    answered = 0
    async with running(error_burst=1_000_000, max_remembered=1_000_000) as portal:
        peer = portal.udp()
        for datagram in datagrams():
            answer = await answer_to(peer, datagram)
            answered += bool(answer)
            worst = max(worst, len(answer) / len(datagram))
            if answer:
                ratio = (len(answer) + HEADERS) / (len(datagram) + HEADERS)
                worst_with_headers = max(worst_with_headers, ratio)
    assert answered > 500
    assert 2.5 < worst <= BOUND
    assert 1.5 < worst_with_headers < worst
