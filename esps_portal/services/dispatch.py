"""The portal: it answers a request, whatever the transport.

The checks come in the order of the specification (section Order of checks). The checks of the
line and of the connection's state come earlier, in `esps_portal.protocol`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from esps_portal.exports import public_names
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import OK, Reply, Request, error_reply
from esps_portal.protocol.registry import VERSION, argument_count_error
from esps_portal.services.call import Call, Caller
from esps_portal.services.declaring import DeclaresServices
from esps_portal.services.replies import (
    first_error,
    ok_reply,
    result_error,
    service_error_reply,
    sync_outcome,
)
from esps_portal.services.service import (
    CloseAfter,
    Service,
)
from esps_portal.services.statistics import Statistics
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_log = logging.getLogger("esps_portal")


@attrs.define(eq=False, kw_only=True)
class ServiceCall(Call):
    """A call of an async service."""

    service: Service
    portal: Portal

    async def run(self) -> Reply:
        """Execute the service, and return the final reply. Only `trio.Cancelled` leaves it."""
        keywords = {"call": self} if self.service.wants_call else {}
        try:
            result = await self.service.function(*self.request.args[1:], **keywords)
            return ok_reply(self.request.tag, result, self.max_line)
        except ReplyError as error:
            return self.portal.error_reply(self.request.tag, error, self.service)
        except BaseExceptionGroup as group:
            return self._reply_to_group(group)
        except Exception:  # noqa: BLE001 - a service may raise anything; it is logged
            return self.portal.failure_reply(self.request.tag, self.service)

    def _reply_to_group(self, group: BaseExceptionGroup[BaseException]) -> Reply:
        """Return the final reply for exceptions of a nursery that the service opened."""
        failures, others = group.split(Exception)
        if failures is None:
            raise group
        reply_errors, failures = failures.split(ReplyError)
        if reply_errors is not None and failures is None:
            error = first_error(reply_errors)
            reply = self.portal.error_reply(self.request.tag, error, self.service)
        else:
            reply = self.portal.failure_reply(self.request.tag, self.service)
        if others is not None:
            raise others from None  # it was cancelled, and failed while it ended
        return reply


Outcome = Reply | Call | CloseAfter


class Dispatcher(Protocol):
    """What answers the requests of a server: a `Portal`, or what is put before one."""

    product: str
    limits: Limits
    statistics: Statistics

    def answer(self, request: Request, caller: Caller) -> Outcome:
        """Return the reply; or a `Call` to run, or a `CloseAfter` to carry out."""


class Portal(DeclaresServices):
    """Services, and the replies to requests for them.

    Args:
        services: those that it offers; more are added with `service`.
        product: what it calls itself in HELLO, ``name/version``.
        limits: HELLO announces them and the server enforces them. Default: those of `Limits`.

    Example::

        portal = Portal()

        @portal.service
        def greet(name: bytes) -> bytes:
            return b"hello " + name
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
        #: The counters; the server increments its own here too.
        self.statistics: Statistics = Statistics()
        #: Called with each CALL of an unknown service.
        self.on_unknown_service: Callable[[Request], None] = lambda _: None
        #: Called with each service that fails, while its exception is handled.
        self.on_service_failure: Callable[[Service], None] = lambda _: None
        self._services: dict[bytes, Service] = {}
        for service in services:
            self.add(service)

    def __repr__(self) -> str:
        names = ", ".join(service.name for service in self._services.values())
        return f"<portal {self.product}; services: {names or 'none'}>"

    def __dir__(self) -> list[str]:
        return public_names(self)

    @property
    def services(self) -> list[Service]:
        """The services, in the order of declaration."""
        return list(self._services.values())

    @services.setter
    def services(self, services: Iterable[Service]) -> None:
        self._services = {service.name.encode(): service for service in services}

    def add(self, service: Service) -> None:
        """Offer ``service``; it replaces one of the same name."""
        self._services[service.name.encode()] = service

    def _offer(self, service: Service) -> None:
        self.add(service)

    def answer(  # noqa: PLR0911 - one for each way to be answered
        self, request: Request, caller: Caller
    ) -> Outcome:
        """Return the reply; or a `Call` to run, or a `CloseAfter` to carry out."""
        self.statistics.requests += 1
        if request.verb != b"CALL" or not request.args:
            return self._answer_verb(request)
        service = self._services.get(request.args[0])
        if service is None:
            self.on_unknown_service(request)
            return self._unknown(request)
        args = request.args[1:]
        if not (service.is_always_admitted and service.min_args <= len(args) <= service.max_args):
            refusal = _refusal(request, service, caller)
            if refusal is not None:
                return refusal
        if not service.is_sync:
            return self._call(request, service, caller)
        try:
            if service.wants_call:
                call = self._call(request, service, caller)
                result = service.function(*args, call=call)
            else:
                result = service.function(*args)
            if type(result) is tuple and result == args:
                # echo: the arguments came in one line, so they fit one line.
                return Reply(request.tag, OK, args, request.plain)
            return sync_outcome(request.tag, result, self.limits.max_line, caller)
        except ReplyError as error:
            return self.error_reply(request.tag, error, service)
        except Exception:  # noqa: BLE001 - a service may raise anything; it is logged
            return self.failure_reply(request.tag, service)

    def _call(self, request: Request, service: Service, caller: Caller) -> ServiceCall:
        max_line = self.limits.max_line
        return ServiceCall(request, caller, max_line, service=service, portal=self)

    def error_reply(self, tag: bytes, error: ReplyError, service: Service) -> Reply:
        """Return the reply for a `ReplyError` of a service."""
        reply = service_error_reply(tag, error, self.limits.max_line)
        # An error that no line can carry is a failure of the service.
        return self.failure_reply(tag, service) if reply is None else reply

    def failure_reply(self, tag: bytes, service: Service) -> Reply:
        """Count and log the exception of a service that is being handled; return its reply."""
        self.statistics.failed += 1
        self.on_service_failure(service)
        error = result_error(sys.exception())
        if error is not None:  # its traceback shows our code, not the service's
            _log.error("service %s failed: %s", service.name, error)
        else:
            _log.exception("service %s failed", service.name)
        return error_reply(tag, "failed", "the service failed; the server's log says why")

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
        return Reply(request.tag, OK, service.list_args())

    def _unknown(self, request: Request) -> Reply:
        name = request.args[0]
        known = name.lower() in self._services
        hint = f"names are case-sensitive: {name.lower().decode()}" if known else "LIST names them"
        return error_reply(request.tag, "unknown-service", hint)


def _refusal(request: Request, service: Service, caller: Caller) -> Reply | None:
    """Return the error reply to a call that must not be executed; reserve room for any other.

    The argument count is checked last.
    """
    if caller.transport not in service.transports:
        return error_reply(request.tag, "use-tcp", f"{service.name} is not offered over UDP")
    if not service.is_always_admitted and not caller.reserve(
        idempotent=service.idempotent, is_async=not service.is_sync
    ):
        return error_reply(request.tag, "busy", "too many calls run: try again")
    if not service.min_args <= len(request.args) - 1 <= service.max_args:
        usage = f"usage: CALL {service.name} {service.usage}".rstrip()
        return error_reply(request.tag, "bad-arguments", usage)
    return None
