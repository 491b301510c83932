"""What a service is, how one is declared, and how its result becomes a reply's arguments.

A service is a function of the request's arguments (octet strings). A plain function is instant:
it is answered in request order. An ``async`` function is a task: it is answered when it ends, may
be cancelled, and may send lines as it goes through the keyword-only parameter ``call``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypedDict, Unpack

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ReplyError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.frozen
class CloseAfter:
    """What a misbehaving service asks of the carrier: these octets, then the end.

    Attributes:
        reset: end with RST; else with FIN.
    """

    data: bytes = b""
    reset: bool = False


#: What a service may return: nothing, one argument, or several; or the end of the connection.
Result = str | bytes | Sequence[str | bytes] | CloseAfter | None
_MAY_RETURN = "a service returns str, bytes, a list or tuple of those, or None"


class ResultError(TypeError):
    """What a service has returned cannot be sent as its reply. Its text says what can."""


@attrs.define
class Caller:
    """Who asks, as the server sees it: the carrier makes one and hands it to each answer."""

    transport: str
    address: str
    port: int

    def reserve(self, *, idempotent: bool, runs: bool) -> bool:
        """Reserve room for one more call; ``False``: there is none (``busy``).

        Args:
            idempotent: it may be executed twice for one request (UDP).
            runs: it runs as a task.
        """
        raise NotImplementedError


_OCTETS = frozenset({bytes})


class CallContext(Protocol):
    """What a service that asks for ``call`` gets."""

    @property
    def tag(self) -> bytes:
        """The tag of the request."""

    @property
    def caller(self) -> Caller:
        """Who asks."""

    async def data(self, *args: str | bytes) -> None:
        """Send one ``DATA`` line. It returns when the peer keeps up."""


class Declaration(TypedDict, total=False):
    """The keywords of a service's declaration; each has a default."""

    #: By default the function's name, ``_`` as ``-``.
    name: str
    #: By default the first line of the function's docstring.
    summary: str
    #: The arguments, as in ``LINES [WIDTH]``; by default empty.
    usage: str
    #: By default false: over UDP a call is then executed once, however often it is sent.
    idempotent: bool
    #: By default ``tcp`` and ``udp``.
    transports: Iterable[str]


@attrs.frozen(eq=False)
class Service:
    """A service: its function, and all that LIST, the documentation and the command say of it.

    Attributes:
        idempotent: it may be executed twice for one request (UDP retransmission).
        transports: of ``tcp`` and ``udp``; elsewhere it is refused with ``use-tcp``.
        instant: it is a plain function.
        free: nothing but the arguments is checked before execution: it is instant, idempotent and
            offered over both transports.
    """

    name: str
    function: Callable[..., Any]
    summary: str
    usage: str
    idempotent: bool
    transports: frozenset[str]
    instant: bool
    wants_call: bool
    min_args: int
    max_args: int
    free: bool

    @classmethod
    def declare(
        cls,
        function: Callable[..., Result] | Callable[..., Awaitable[Result]],
        /,
        **declaration: Unpack[Declaration],
    ) -> Service:
        """Make a service of a function.

        Args:
            function: takes the request's arguments, and ``call`` if it has that parameter.
            declaration: see `Declaration`.

        Raises:
            ValueError: the name is not a name, or a transport is unknown.
            TypeError: it is an async generator.
        """
        if inspect.isasyncgenfunction(function):
            raise TypeError("a service sends lines with `await call.data(...)`, not with yield")
        # What is callable without being a function, such as a partial, may have no name.
        name = declaration.get("name") or getattr(function, "__name__", "").replace("_", "-")
        if not grammar.NAME.fullmatch(name.encode()):
            message = f"{name!r} is not a name: a-z, then up to 63 of a-z 0-9 - . _"
            raise ValueError(message)
        offered = frozenset(declaration.get("transports", ("tcp", "udp")))
        idempotent = declaration.get("idempotent", False)
        if not offered or offered - {"tcp", "udp"}:
            message = f"transports are tcp and udp, not {sorted(offered)}"
            raise ValueError(message)
        doc = inspect.getdoc(function) or ""
        min_args, max_args, wants_call = _arity(function)
        # An object may have an async __call__.
        call = getattr(function, "__call__", None)  # noqa: B004 - to look at, not to ask whether
        instant = not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call))
        return cls(
            name=name,
            function=function,
            summary=declaration.get("summary") or doc.partition("\n")[0],
            usage=declaration.get("usage", ""),
            idempotent=idempotent,
            transports=offered,
            instant=instant,
            wants_call=wants_call,
            min_args=min_args,
            max_args=max_args,
            free=instant and idempotent and offered == {"tcp", "udp"},
        )

    @property
    def flags(self) -> str:
        """The letters of the flags registry: a(sync), i(dempotent), t(CP only); ``-`` for none."""
        tcp_only = "udp" not in self.transports
        return "a" * (not self.instant) + "i" * self.idempotent + "t" * tcp_only or "-"

    def described(self) -> tuple[bytes, ...]:
        """Return the arguments of the reply to ``LIST name``."""
        return tuple(text.encode() for text in (self.name, self.flags, self.usage, self.summary))


def reply_args(result: Result) -> tuple[bytes, ...]:
    """Return what a service returned as the arguments of its reply.

    Raises:
        ResultError: it is nothing that a service may return.
    """
    if type(result) is tuple and _OCTETS.issuperset(map(type, result)):
        return result
    if result is None:
        return ()
    if isinstance(result, CloseAfter):
        raise ResultError("only a plain service may end a connection")
    if isinstance(result, str | bytes | bytearray | memoryview):
        return (as_bytes(result),)
    # A dict would lose its values, a set its order, and a generator may have no end.
    if not isinstance(result, Sequence):
        raise ResultError(_wrong_result(result))
    args = []
    for arg in result:
        if not isinstance(arg, str | bytes | bytearray | memoryview):
            words = f"it returned {_kind(result)} with {_kind(arg)} in it"
            raise ResultError(f"{words}: {_MAY_RETURN}")
        args.append(as_bytes(arg))
    return tuple(args)


def _wrong_result(result: object) -> str:
    """Return what is wrong with a result, and end what it has begun."""
    words = f"it returned {_kind(result)}: {_MAY_RETURN}"
    if inspect.iscoroutine(result):
        result.close()  # or Python warns, later and elsewhere, that nobody has awaited it
        return f"{words}; await it, in an async def"
    if isinstance(result, Iterator):
        return f"{words}; an async def sends lines as it goes, with await call.data(...)"
    return words


def _kind(value: object) -> str:
    return type(value).__qualname__


def as_bytes(arg: str | bytes | bytearray | memoryview) -> bytes:
    """Return an argument as octets: text is UTF-8."""
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, bytes | bytearray | memoryview):
        return bytes(arg)
    message = f"an argument is str or bytes, not {type(arg).__name__}"
    raise TypeError(message)


def number(text: bytes, what: str, lowest: int, highest: int) -> int:
    """Return a decimal argument of a service.

    Raises:
        ReplyError: ``bad-arguments``: it is not a decimal number, or out of bounds.
    """
    # Leading zeros change nothing. A number longer than any bound is refused unread: int() of a
    # stranger's thousands of digits would be wasted work.
    digits = text.lstrip(b"0") or text[-1:]
    if text.isdigit() and len(digits) <= len(str(highest)) and lowest <= int(digits) <= highest:
        return int(digits)
    raise ReplyError("bad-arguments", f"{what} is a number from {lowest} to {highest}")


def _arity(function: Callable[..., Any]) -> tuple[int, int, bool]:
    """Return the least and the most arguments, and whether it takes ``call``."""
    min_args, max_args, wants_call = 0, 0, False
    endless = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            endless = True
        elif parameter.kind is parameter.KEYWORD_ONLY:
            wants_call = wants_call or parameter.name == "call"
        elif parameter.kind is not parameter.VAR_KEYWORD:
            max_args += 1
            min_args += parameter.default is parameter.empty
    return min_args, sys.maxsize if endless else max_args, wants_call
