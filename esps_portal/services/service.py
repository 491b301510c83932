"""What a service is, how one is declared, and how its result becomes a reply's arguments.

A service is a function of the request's arguments, which are bytes. A sync function replies at
once, in request order. An ``async`` function runs as a task: it replies when it ends, may be
cancelled, and may send DATA lines before that through the keyword-only parameter ``call``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Unpack

import attrs

from esps_portal.protocol.errors import ReplyError
from esps_portal.services.declaration import (
    Declaration,
    arity,
    check_is_service,
    check_types,
    checked_transports,
    service_name,
)
from esps_portal.tracebacks import hides_frame
from esps_portal.user_functions import is_async

__tracebackhide__ = hides_frame


@attrs.frozen
class CloseAfter:
    """Return it from a sync service to send these bytes, then end the connection (TCP only).

    Attributes:
        data: sent as they are, in place of the reply.
        reset: end with RST; otherwise with FIN.
    """

    data: bytes = b""
    reset: bool = False


#: What a service may return: nothing, one argument, or several; or the end of the connection.
Result = str | bytes | Sequence[str | bytes] | CloseAfter | None
_MAY_RETURN = "a service returns str, bytes, a list or tuple of those, or None"
_ONLY_BYTES = frozenset({bytes})


class ResultError(TypeError):
    """What a service returned, or sent as data, is not a reply. The text says what it may be."""


@attrs.frozen(eq=False)
class Service:
    """A service: its function, and what LIST, the documentation and the command say of it.

    Attributes:
        idempotent: it may be executed twice for one request (UDP retransmission).
        transports: ``tcp``, ``udp`` or both; over UDP a call of one for TCP gets ``use-tcp``.
        is_sync: it is a sync function, and replies at once.
        wants_call: it takes ``call``, a `CallContext`.
        min_args, max_args: how many arguments it takes.
        is_always_admitted: only the argument count of a call has to be checked, since it is sync,
            idempotent and offered over both transports.
        is_plain: that, and its function takes nothing but the request's arguments.
    """

    name: str
    function: Callable[..., Any]
    summary: str
    usage: str
    idempotent: bool
    transports: frozenset[str]
    is_sync: bool
    wants_call: bool
    min_args: int
    max_args: int
    is_always_admitted: bool
    is_plain: bool

    @classmethod
    def declare(
        cls,
        function: Callable[..., Result] | Callable[..., Awaitable[Result]],
        /,
        **declaration: Unpack[Declaration],
    ) -> Service:
        """Make a service of a function.

        Args:
            function: takes the request's arguments as bytes, and ``call`` if it has that parameter.
            declaration: see `Declaration`.

        Raises:
            ValueError: the name is not a service name, or a transport is unknown.
            TypeError: it is not a function that can be called so, or a keyword is unknown or of the
                wrong type.
        """
        check_is_service(function)
        check_types(declaration)
        name = service_name(function, declaration.get("name"))
        transports = checked_transports(declaration.get("transports", ("tcp", "udp")))
        idempotent = declaration.get("idempotent", False)
        doc = inspect.getdoc(function) or ""
        min_args, max_args, wants_call = arity(function)
        is_sync = not is_async(function)
        is_always_admitted = is_sync and idempotent and transports == {"tcp", "udp"}
        return cls(
            name=name,
            function=function,
            summary=declaration.get("summary") or doc.partition("\n")[0],
            usage=declaration.get("usage", ""),
            idempotent=idempotent,
            transports=transports,
            is_sync=is_sync,
            wants_call=wants_call,
            min_args=min_args,
            max_args=max_args,
            is_always_admitted=is_always_admitted,
            is_plain=is_always_admitted and not wants_call,
        )

    def takes(self, count: int) -> bool:
        """Whether it takes this many arguments."""
        return self.min_args <= count <= self.max_args

    def count_error(self, count: int) -> str:
        """Return, for a client, why it does not take this many arguments."""
        if self.usage or not self.max_args:
            return f"usage: CALL {self.name} {self.usage}".rstrip()
        takes = f"{self.min_args}"
        if self.max_args > self.min_args:
            takes += " or more" if self.max_args == sys.maxsize else f" to {self.max_args}"
        return f"{self.name} takes {takes} arguments, got {count}"

    @property
    def flags(self) -> str:
        """The flags as LIST shows them: a(sync), i(dempotent), t(CP only); ``-`` for none."""
        tcp_only = "udp" not in self.transports
        return "a" * (not self.is_sync) + "i" * self.idempotent + "t" * tcp_only or "-"

    def list_args(self) -> tuple[bytes, ...]:
        """Return the arguments of the reply to ``LIST name``."""
        return tuple(text.encode() for text in (self.name, self.flags, self.usage, self.summary))


def result_to_args(result: Result) -> tuple[bytes, ...]:
    """Return the reply's arguments for what a service returned.

    Raises:
        ResultError: a service may not return it.
    """
    if type(result) is tuple and _ONLY_BYTES.issuperset(map(type, result)):
        return result
    if result is None:
        return ()
    if isinstance(result, CloseAfter):
        raise ResultError("only a sync service may end the connection")
    if isinstance(result, str | bytes | bytearray | memoryview):
        return (as_bytes(result),)
    # A dict would lose its values, a set its order, and a generator may have no end.
    if not isinstance(result, Sequence):
        raise ResultError(_wrong_result(result))
    args = []
    for arg in result:
        if not isinstance(arg, str | bytes | bytearray | memoryview):
            message = f"it returned {_type_name(result)} with {_type_name(arg)} in it"
            raise ResultError(f"{message}: {_MAY_RETURN}")
        args.append(as_bytes(arg))
    return tuple(args)


def _wrong_result(result: object) -> str:
    """Return what is wrong with a result; close it if it is a coroutine."""
    message = f"it returned {_type_name(result)}: {_MAY_RETURN}"
    if inspect.iscoroutine(result):
        result.close()  # otherwise Python warns, later, that it was never awaited
        return f"{message}; await it, in an async def"
    if isinstance(result, Iterator):
        return f"{message}; an async def sends DATA lines with await call.data(...)"
    return message


def _type_name(value: object) -> str:
    return type(value).__qualname__


def data_to_args(values: Iterable[object]) -> tuple[bytes, ...]:
    """Return the arguments of a DATA line.

    Raises:
        ResultError: one is neither text nor bytes.
    """
    args = []
    for value in values:
        if not isinstance(value, str | bytes | bytearray | memoryview):
            raise ResultError(f"call.data takes str or bytes, got {_type_name(value)}")
        args.append(as_bytes(value))
    return tuple(args)


def as_bytes(arg: str | bytes | bytearray | memoryview) -> bytes:
    """Return an argument as bytes; text is encoded as UTF-8.

    Raises:
        TypeError: it is neither text nor bytes.
    """
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, bytes | bytearray | memoryview):
        return bytes(arg)
    message = f"an argument must be str or bytes, got {type(arg).__name__}"
    raise TypeError(message)


def parse_integer(text: bytes, name: str, minimum: int, maximum: int) -> int:
    """Return a decimal argument of a service as an integer, bounds included.

    Args:
        name: of the argument, for the error.

    Raises:
        ReplyError: ``bad-arguments``: it is not a decimal number, or out of bounds.
    """
    # Leading zeros do not count. int() of thousands of digits is slow: check the length first.
    digits = text.lstrip(b"0") or text[-1:]
    if text.isdigit() and len(digits) <= len(str(maximum)) and minimum <= int(digits) <= maximum:
        return int(digits)
    raise ReplyError("bad-arguments", f"{name} must be a number from {minimum} to {maximum}")
