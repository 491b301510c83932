"""The portal: the one pipeline that answers a request, on whatever transport it came.

The order of the checks is the specification's (section Order of checks); those about the line
and the conversation have been made before a request gets here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar, Unpack, overload

import attrs

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import DATA, ERR, OK, Reply, Request, error_reply
from esps_portal.protocol.registry import VERSION, argument_count_error
from esps_portal.services.service import (
    Caller,
    CloseAfter,
    Declaration,
    Result,
    ResultError,
    Service,
    as_bytes,
    reply_args,
)
from esps_portal.services.statistics import Statistics
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Function = TypeVar("_Function", bound=Callable[..., Any])

# So few and short, arguments fit even the least `max_line`, 512, with every octet escaped.
_FEW, _SHORT = 16, 128

_log = logging.getLogger("esps_portal")


@attrs.define(eq=False)
class Call:
    """A call that runs as a task. The server runs it, in a scope that it can cancel.

    Attributes:
        max_line: of the portal, in bytes.
        closes: the connection ends after its last line.
        send: where DATA lines go; the server sets it before `run`.
    """

    request: Request
    caller: Caller
    max_line: int
    closes: bool = False
    send: Callable[[Reply], Awaitable[None]] | None = None

    @property
    def tag(self) -> bytes:
        """The tag of the request."""
        return self.request.tag

    async def data(self, *args: str | bytes) -> None:
        """Send one ``DATA`` line. It returns when the client keeps up.

        Raises:
            ValueError: the line would be longer than `max_line`.
        """
        reply = Reply(self.request.tag, DATA, tuple(as_bytes(arg) for arg in args))
        if len(reply.encode()) > self.max_line:
            raise ValueError(f"a DATA line would be longer than {self.max_line} bytes")
        if self.send is not None:
            await self.send(reply)

    async def run(self) -> Reply:
        """Execute it. Raises nothing but `trio.Cancelled`."""
        raise NotImplementedError


@attrs.define(eq=False, kw_only=True)
class ServiceCall(Call):
    """A call of an async service."""

    service: Service
    portal: Portal

    async def run(self) -> Reply:
        """Execute the service. Raises nothing but `trio.Cancelled`."""
        keywords = {"call": self} if self.service.wants_call else {}
        try:
            result = await self.service.function(*self.request.args[1:], **keywords)
            return _final(self.request.tag, result, self.max_line)
        except ReplyError as error:
            return _refused(self.request.tag, error, self.service, self.portal)
        except BaseExceptionGroup as group:
            return self._answer_group(group)
        except Exception:  # noqa: BLE001 - a service may raise anything; `_failed` logs it
            return _failed(self.request.tag, self.service, self.portal)

    def _answer_group(self, group: BaseExceptionGroup[BaseException]) -> Reply:
        """Answer what left a nursery of the service's own."""
        failures, others = group.split(Exception)
        if failures is None:
            raise group
        refusals, failures = failures.split(ReplyError)
        if refusals is not None and failures is None:
            reply = _refused(self.request.tag, _first(refusals), self.service, self.portal)
        else:
            reply = _failed(self.request.tag, self.service, self.portal)
        if others is not None:
            raise others from None  # it was cancelled, and failed on its way out
        return reply


Outcome = Reply | Call | CloseAfter


class Dispatcher(Protocol):
    """What answers the requests that a server takes."""

    product: str
    limits: Limits
    statistics: Statistics

    def answer(self, request: Request, caller: Caller) -> Outcome:
        """Answer a request, or return what the server has to do to answer it."""


class Portal:
    """Services, and how requests for them are answered.

    Args:
        services: what it offers; a user's own are added with `service`.
        product: what it calls itself, ``name/version``.
        limits: what HELLO announces, and the carriers enforce; the defaults of `Limits`.
    """

    def __init__(
        self,
        services: Iterable[Service] = (),
        *,
        product: str = "portal",
        limits: Limits | None = None,
    ) -> None:
        self.product = product
        self.limits: Limits = limits or Limits()
        #: What has happened since the start; the carriers count here too.
        self.statistics: Statistics = Statistics()
        #: Called with a CALL of an unknown service, and with a service that has failed, while its
        #: exception is handled.
        self.on_unknown: Callable[[Request], None] = lambda _: None
        self.on_failure: Callable[[Service], None] = lambda _: None
        self._services: dict[bytes, Service] = {}
        for service in services:
            self.add(service)

    @property
    def services(self) -> list[Service]:
        """What is offered, in the order of declaration."""
        return list(self._services.values())

    @services.setter
    def services(self, services: Iterable[Service]) -> None:
        self._services = {service.name.encode(): service for service in services}

    def add(self, service: Service) -> None:
        """Offer ``service``; one of the same name is replaced."""
        self._services[service.name.encode()] = service

    @overload
    def service(self, function: _Function, /) -> _Function: ...

    @overload
    def service(
        self, /, **declaration: Unpack[Declaration]
    ) -> Callable[[_Function], _Function]: ...

    def service(
        self, function: _Function | None = None, /, **declaration: Unpack[Declaration]
    ) -> _Function | Callable[[_Function], _Function]:
        """Declare a function as a service: ``@portal.service`` or ``@portal.service(name=...)``.

        The keywords are those of `Service.declare`. The function itself is returned.
        """

        def declare(function: _Function) -> _Function:
            self.add(Service.declare(function, **declaration))
            return function

        return declare if function is None else declare(function)

    def answer(  # noqa: PLR0911 - one for each way to be answered
        self, request: Request, caller: Caller
    ) -> Outcome:
        """Answer a request, or return what the server has to do to answer it."""
        self.statistics.requests += 1
        if request.verb != b"CALL" or not request.args:
            return self._answer_verb(request)
        service = self._services.get(request.args[0])
        if service is None:
            self.on_unknown(request)
            return self._unknown(request)
        args = request.args[1:]
        if not (service.free and service.min_args <= len(args) <= service.max_args):
            refused = check(request, service, caller)
            if refused is not None:
                return refused
        if not service.instant:
            return self._call(request, service, caller)
        try:
            if service.wants_call:
                call = self._call(request, service, caller)
                result = service.function(*args, call=call)
            else:
                result = service.function(*args)
            if type(result) is tuple and result == args:
                # The arguments as they came: they fit a reply, and need no check. That is echo.
                return Reply(request.tag, OK, args, request.plain)
            return _outcome(request.tag, result, self.limits.max_line, caller)
        except ReplyError as error:
            return _refused(request.tag, error, service, self)
        except Exception:  # noqa: BLE001 - a service may raise anything; `_failed` logs it
            return _failed(request.tag, service, self)

    def _call(self, request: Request, service: Service, caller: Caller) -> ServiceCall:
        max_line = self.limits.max_line
        return ServiceCall(request, caller, max_line, service=service, portal=self)

    def note_failure(self, service: Service) -> None:
        """Note that a service has failed; called while its exception is handled."""
        self.statistics.failed += 1
        self.on_failure(service)
        error = sys.exception()
        if isinstance(error, ResultError):  # its traceback would show our code, not the service's
            _log.error("service %s failed: %s", service.name, error)
        else:
            _log.exception("service %s failed", service.name)

    def _answer_verb(self, request: Request) -> Reply:
        if request.verb == b"PING":
            return Reply(request.tag, OK, request.args, request.plain)
        wrong = argument_count_error(request.verb, request.args)
        if wrong:
            return error_reply(request.tag, "bad-arguments", wrong)
        return self._hello(request) if request.verb == b"HELLO" else self._list(request)

    def _hello(self, request: Request) -> Reply:
        for version in request.args:
            name, _, digits = version.partition(b"/")
            if name != b"ESPS" or not digits.isdigit():
                return error_reply(request.tag, "bad-arguments", "HELLO needs versions: ESPS/1")
        if VERSION not in request.args:
            return error_reply(request.tag, "unsupported-version", "this is ESPS/1")
        announced = (VERSION, self.product.encode(), *self.limits.announced())
        return Reply(request.tag, OK, announced)

    def _list(self, request: Request) -> Reply:
        if not request.args:
            return Reply(request.tag, OK, tuple(self._services))
        service = self._services.get(request.args[0])
        if service is None:
            return self._unknown(request)
        return Reply(request.tag, OK, service.described())

    def _unknown(self, request: Request) -> Reply:
        name = request.args[0]
        known = name.lower() in self._services
        hint = f"names are case-sensitive: {name.lower().decode()}" if known else "LIST names them"
        return error_reply(request.tag, "unknown-service", hint)


def check(request: Request, service: Service, caller: Caller) -> Reply | None:
    """Return why a service must not be executed, if so. The argument count is checked last."""
    if caller.transport not in service.transports:
        return error_reply(request.tag, "use-tcp", f"{service.name} is not offered over UDP")
    if not service.free and not caller.reserve(
        idempotent=service.idempotent, runs=not service.instant
    ):
        return error_reply(request.tag, "busy", "too many calls run: try again")
    if not service.min_args <= len(request.args) - 1 <= service.max_args:
        usage = f"usage: CALL {service.name} {service.usage}".rstrip()
        return error_reply(request.tag, "bad-arguments", usage)
    return None


def _first(refusals: BaseExceptionGroup[ReplyError]) -> ReplyError:
    first: ReplyError | BaseExceptionGroup[ReplyError] = refusals
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _refused(tag: bytes, error: ReplyError, service: Service, portal: Portal) -> Reply:
    code = error.code.encode("utf-8", "replace")
    reply = Reply(tag, ERR, (code, *error.arguments))
    # A refusal that the protocol cannot carry is a failure like any other.
    if grammar.NAME.fullmatch(code) and len(reply.encode()) <= portal.limits.max_line:
        return reply
    return _failed(tag, service, portal)


def _failed(tag: bytes, service: Service, portal: Portal) -> Reply:
    portal.note_failure(service)
    return error_reply(tag, "failed", "the service failed; the server's log says why")


def _outcome(tag: bytes, result: Result, max_line: int, caller: Caller) -> Reply | CloseAfter:
    if not isinstance(result, CloseAfter):
        return _final(tag, result, max_line)
    if caller.transport == "udp":
        raise ResultError("over UDP there is no connection to end: declare the service for tcp")
    return result


def _final(tag: bytes, result: Result, max_line: int) -> Reply:
    args = reply_args(result)
    reply = Reply(tag, OK, args)
    # An escaped octet takes three. Nearly every reply is too short to need measuring.
    if len(args) > _FEW or sum(map(len, args)) > _SHORT:
        size = len(reply.encode())
        if size > max_line:
            raise ResultError(f"its reply would be {size} bytes long, over {max_line}")
    return reply
