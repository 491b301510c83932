"""Asks a server about itself before the vectors run: what it offers, and its limits."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Mapping

import attrs
import trio

from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.steps import FIRST, Expect, ExpectedLine, Open, Send
from esps_portal.conformance.target import Target
from esps_portal.conformance.tcp_session import TcpSession
from esps_portal.conformance.template import Run
from esps_portal.conformance.traffic import Traffic
from esps_portal.conformance.udp_session import UdpSession

_ATTEMPTS = 3  # of a PING over UDP, which may be lost
#: The highest limit that is believed, own choice: vectors send lines as long, and as many requests.
#: A server whose limit is higher is judged as one that announces none.
HIGHEST_LIMIT = 1_000_000
_ANNOUNCED = re.compile(r"([a-z-]+)=([0-9]+(?:\.[0-9]+)?)")


@attrs.frozen
class Survey:
    """What is known of a server.

    Attributes:
        unreachable: why a transport cannot be tested, by its name.
        product: what it calls itself.
        limits: those that it announces.
        services: their names; ``None``: it did not say.
    """

    unreachable: Mapping[str, str]
    product: str = ""
    limits: Mapping[str, float] = attrs.field(factory=dict)
    services: frozenset[str] | None = None


async def survey(target: Target, reply_timeout: float) -> Survey:
    """Ask a server; nothing that it does is an error, but what it does not say is unknown.

    Args:
        reply_timeout: seconds to wait for each reply.
    """
    unreachable: dict[str, str] = {}
    replies: dict[str, list[str]] = {}
    if "tcp" in target.transports:
        reason = await _ask_over_tcp(target, reply_timeout, replies)
        unreachable |= {"tcp": reason} if reason else {}
    if "udp" in target.transports:
        reason = await _ask_over_udp(target, reply_timeout, replies)
        unreachable |= {"udp": reason} if reason else {}
    hello, names = replies.get("HELLO ESPS/1", []), replies.get("LIST")
    found = {match[1]: float(match[2]) for word in hello if (match := _ANNOUNCED.fullmatch(word))}
    return Survey(
        unreachable,
        hello[1] if len(hello) > 1 else "",
        {
            name: value
            for name, value in found.items()
            if name in target.limits and value <= HIGHEST_LIMIT
        },
        None if names is None else frozenset(names),
    )


async def _ask_over_tcp(target: Target, reply_timeout: float, replies: dict[str, list[str]]) -> str:
    """Keep the arguments of each reply; return why no vector can be run."""
    traffic = Traffic("tcp", target.address[:2])
    session = TcpSession(target, Run(target.limits), traffic, reply_timeout, bytewise=False)
    try:
        with contextlib.suppress(MismatchError):
            await session.carry_out(Open(FIRST, hello=False))
            replies["HELLO ESPS/1"] = await _reply(session, "HELLO ESPS/1")
            replies["LIST"] = await _reply(session, "LIST")
        if not traffic.has_answer:
            with contextlib.suppress(MismatchError):
                await _reply(session, "PING")
    except (OSError, trio.TooSlowError) as error:
        return _reason(error)
    finally:
        session.close()
    # Each vector would wait for it: minutes, for what is said in seconds.
    return "" if traffic.has_answer else "no greeting, and no reply to PING"


async def _ask_over_udp(target: Target, reply_timeout: float, replies: dict[str, list[str]]) -> str:
    traffic = Traffic("udp", target.address[:2])
    session = UdpSession(target, Run(target.limits), traffic, reply_timeout / _ATTEMPTS)
    try:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(MismatchError):
                await _reply(session, "PING")
                break
        else:
            return "no reply to PING"
        if "LIST" not in replies:
            with contextlib.suppress(MismatchError):
                replies["HELLO ESPS/1"] = await _reply(session, "HELLO ESPS/1")
            with contextlib.suppress(MismatchError):
                replies["LIST"] = await _reply(session, "LIST")
    except OSError as error:
        return _reason(error)
    finally:
        session.close()
    return ""


async def _reply(session: TcpSession | UdpSession, request: str) -> list[str]:
    """Return the arguments of the OK that answers a request.

    Raises:
        MismatchError: it is not answered so.
    """
    tag = session.run.name(f"z{len(session.run.names)}")
    pad = " {#:390}" if isinstance(session, UdpSession) and request != "PING" else ""
    await session.carry_out(Send(FIRST, f"{tag} {request}{pad}\n"))
    await session.carry_out(Expect(FIRST, (ExpectedLine(f"{tag} OK {{text:reply}}"),)))
    return session.run.values["reply"].split(" ")


def _reason(error: BaseException) -> str:
    if isinstance(error, trio.TooSlowError):
        return "it does not accept connections"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "unknown host"
    return str(error) or type(error).__name__
