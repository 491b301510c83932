"""The portal: it answers requests, over any transport.

The checks come in the order of the specification (section Order of checks). Those of the line and
of the connection's state come earlier, in `esps_portal.protocol`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from esps_portal.clock import monotonic
from esps_portal.exports import public_names
from esps_portal.log import log
from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import OK, Reply, Request, error_reply
from esps_portal.protocol.received_lines import PlainRequest, plain_to_request
from esps_portal.protocol.registry import VERSIONS
from esps_portal.protocol.verb_arguments import argument_error, chosen_version
from esps_portal.services.call import Caller, SyncCall
from esps_portal.services.dispatcher import Outcome, PlainAnswers
from esps_portal.services.replies import (
    busy_reply,
    result_error,
    service_error_reply,
    sync_outcome,
)
from esps_portal.services.service import Result, Service
from esps_portal.services.service_call import ServiceCall
from esps_portal.services.service_decorator import DeclaresServices
from esps_portal.services.statistics import Statistics
from esps_portal.tracebacks import hides_frame
from esps_portal.user_errors import reraise_interrupt
from esps_portal.user_functions import note_asyncio

__tracebackhide__ = hides_frame

# Stands for a service that is not plain: no number of arguments fits its bounds.
_NOT_PLAIN = (lambda: None, 1, 0)
# Bytes of a plain request without its arguments, at most: tag, CALL, name, CR and LF.
_MAX_REST = 32 + len(b" CALL ") + 64 + len(b"\r\n")


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
        # Of plain services: the function, and the bounds of its argument count.
        self._plain_services: dict[bytes, tuple[Callable[..., Any], int, int]] = {}
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
        self._services.clear()
        self._plain_services.clear()
        for service in services:
            self.add(service)

    def add(self, service: Service) -> None:
        """Offer ``service``; it replaces one of the same name."""
        name = service.name.encode()
        self._services[name] = service
        self._plain_services.pop(name, None)
        if service.is_plain:
            bounds = service.min_args, service.max_args
            self._plain_services[name] = (service.function, *bounds)

    def offers(self, name: str) -> bool:
        """Whether it has a service of that name."""
        return name.encode() in self._services

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
        if not (service.is_always_admitted and service.takes(len(args))):
            refusal = _refusal(request, service, caller)
            if refusal is not None:
                return refusal
        if not service.is_sync:
            return self._call(request, service, caller)
        caller.note_executed()
        try:
            if service.wants_call:
                call = SyncCall(request.tag, caller)
                result = service.function(*args, call=call)
            else:
                result = service.function(*args)
            if type(result) is tuple and result == args:
                # They came in one line, so they fit into one.
                return Reply(request.tag, OK, args, request.plain)
            return sync_outcome(request.tag, result, self.limits.longest_reply_to(request), caller)
        except BaseException as error:  # noqa: BLE001 - sys.exit() and pytest.fail() too; it is logged
            reraise_interrupt(error)
            return self._reply_to(error, request, service)

    def answer_plain(
        self,
        requests: Sequence[PlainRequest],
        caller: Caller | None,
        room: int,
        until: float = math.inf,
    ) -> PlainAnswers:
        """Answer the first of some requests; see `Dispatcher.answer_plain`."""
        # Nearly every request comes here. A PING, or a call of a service that returns its
        # arguments, is answered without a `Request` and a `Reply` being made; each attribute that
        # is not looked up, and each function that is not called, is a part of what that costs.
        plain_services, statistics = self._plain_services, self.statistics
        replies: list[bytes] = []
        append = replies.append
        for tag, name, tokens, _, _ in requests:
            if not name:
                statistics.requests += 1
                append(b"".join((tag, b" OK", tokens, b"\n")))
                continue
            # A PING takes no time, but a service may, whatever it returns.
            if replies and monotonic() > until:
                break
            function, min_args, max_args = plain_services.get(name, _NOT_PLAIN)
            args = tuple(tokens.split())
            if min_args <= len(args) <= max_args:
                statistics.requests += 1
                try:
                    result = function(*args)
                    if type(result) is tuple and result == args:
                        append(b"".join((tag, b" OK", tokens, b"\n")))
                        continue
                    outcome = self._plain_outcome(requests[len(replies)], result, caller)
                except BaseException as error:  # noqa: BLE001 - as in `answer`
                    reraise_interrupt(error)
                    request = plain_to_request(requests[len(replies)])
                    outcome = self._reply_to(error, request, self._services[name])
            elif caller is None:
                break
            else:
                outcome = self.answer(plain_to_request(requests[len(replies)]), caller)
            if caller is None or not isinstance(outcome, Reply):
                return replies, outcome
            append(outcome.encode())
            room -= len(replies[-1])
            if room <= 0:
                break
        return replies, None

    def _plain_outcome(self, plain: PlainRequest, result: Result, caller: Caller | None) -> Outcome:
        """Return the outcome for the result of a plain service."""
        tag, _, tokens, _, _ = plain
        longest = self.limits.longest_reply
        if len(tokens) > longest - _MAX_REST:
            longest = self.limits.longest_reply_to(plain_to_request(plain))
        return sync_outcome(tag, result, longest, caller)

    def note_rejected(self, request: Request) -> None:
        """Note a CALL that the connection refused; see `Dispatcher.note_rejected`."""
        if request.args and not grammar.NAME.fullmatch(request.args[0]):
            self.on_unknown_service(request)

    def _reply_to(self, error: BaseException, request: Request, service: Service) -> Reply:
        """Return the reply for what a sync service has raised, which is being handled."""
        if isinstance(error, ReplyError):
            return self.error_reply(request, error, service)
        note_asyncio(error, service.function)
        return self.failure_reply(request.tag, service)

    def _call(self, request: Request, service: Service, caller: Caller) -> ServiceCall:
        max_line = self.limits.longest_reply_to(request)
        return ServiceCall(request, caller, max_line, service=service, portal=self)

    def error_reply(self, request: Request, error: ReplyError, service: Service) -> Reply:
        """Return the reply for a `ReplyError` of a service."""
        reply = service_error_reply(request.tag, error, self.limits.longest_reply_to(request))
        # An error that no line can carry is a failure of the service.
        return self.failure_reply(request.tag, service) if reply is None else reply

    def failure_reply(self, tag: bytes, service: Service) -> Reply:
        """Count and log the exception of a service that is being handled; return its reply."""
        self.statistics.failed += 1
        self.on_service_failure(service)
        error = result_error(sys.exception())
        if error is not None:  # its traceback shows our code, not the service's
            log.error("service %s failed: %s", service.name, error)
        else:
            log.exception("service %s failed", service.name)
        return error_reply(tag, "failed", "the service failed; the server's log says why")

    def _answer_verb(self, request: Request) -> Reply:
        if request.verb == b"PING":
            return Reply(request.tag, OK, request.args, request.plain)
        wrong = argument_error(request.verb, request.args)
        if wrong:
            return error_reply(request.tag, "bad-arguments", wrong)
        reply = self._hello(request) if request.verb == b"HELLO" else self._list(request)
        if reply.size > self.limits.longest_reply_to(request):
            return error_reply(request.tag, "failed", "the reply is longer than a line may be")
        return reply

    def _hello(self, request: Request) -> Reply:
        version = chosen_version(request.args)
        if version is None:
            text = "the versions are " + " ".join(each.decode() for each in VERSIONS)
            return error_reply(request.tag, "unsupported-version", text)
        announced = (version, self.product.encode(), *self.limits.announced())
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
        if name.lower() in self._services:
            hint = f"names are case-sensitive: {name.lower().decode()}"
        else:
            hint = "LIST names them"
        wrong = argument_error(request.verb, request.args)
        if wrong:
            return error_reply(request.tag, "bad-arguments", f"{wrong}; {hint}")
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
        return busy_reply(request.tag)
    if not service.takes(len(request.args) - 1):
        caller.note_executed()
        return error_reply(request.tag, "bad-arguments", service.count_error(len(request.args) - 1))
    return None
