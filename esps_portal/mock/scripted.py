"""A portal that a test scripts: stubs before its services, faults, and a journal."""

from __future__ import annotations

import difflib
import math
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile

import attrs

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.journal.journal import Journal
from esps_portal.mock.stub_call import StubCall
from esps_portal.mock.stub_registry import Mismatch, StubRegistry
from esps_portal.protocol.escape import shorten
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Reply, Request, error_reply
from esps_portal.protocol.received_lines import PlainRequest, plain_to_request
from esps_portal.services.call import Caller
from esps_portal.services.dispatch import Portal
from esps_portal.services.dispatcher import Outcome, PlainAnswers
from esps_portal.services.replies import busy_reply, result_error
from esps_portal.services.service import CloseAfter, Service
from esps_portal.services.statistics import Statistics

# Characters of an error's text: they fit any line, however they are escaped.
_MAX_ERROR_TEXT = 150
_MAX_UNEXPECTED = 100
_MAX_FAILURES = 10


@attrs.define(eq=False)
class Script:
    """What a test scripts a portal to do, and what has happened."""

    stubs: StubRegistry = attrs.field(factory=StubRegistry)
    faults: FaultRegistry = attrs.field(factory=FaultRegistry)
    journal: Journal = attrs.field(factory=Journal)
    #: The first unexpected calls, each with the reason.
    unexpected: list[tuple[Request, str]] = attrs.field(factory=list)
    #: The first services that failed, each with its traceback.
    failures: list[tuple[str, str]] = attrs.field(factory=list)

    def clear(self) -> None:
        """Forget all of it."""
        self.stubs.clear()
        self.faults.clear()
        self.journal.clear()
        self.unexpected.clear()
        self.failures.clear()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self.journal.end()
        self.faults.waiters.end()

    def note_unexpected(self, request: Request, why: str) -> None:
        """Note an unexpected call; only the first ones are kept."""
        if len(self.unexpected) < _MAX_UNEXPECTED:
            self.unexpected.append((request, why))


class ScriptedPortal:
    """A portal with stubs before its services, with faults and a journal; for TCP and UDP.

    Args:
        portal: answers the calls that no stub answers.
    """

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.product: str = portal.product
        self.limits: Limits = portal.limits
        self.statistics: Statistics = portal.statistics
        self.script: Script = Script()
        portal.on_unknown_service = self._note_unknown
        portal.on_service_failure = self._note_failure
        self._services = portal.services
        self._stubbed = self.script.stubs.by_name

    # -- what a `ServerState` has

    @property
    def faults(self) -> FaultRegistry:
        """The faults that are placed."""
        return self.script.faults

    @property
    def journal(self) -> Journal:
        """What happened."""
        return self.script.journal

    @property
    def exchanges(self) -> Journal:
        """The journal: what clients send are calls."""
        return self.script.journal

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""
        return self.script.journal.has_news

    @property
    def is_busy(self) -> bool:
        """Never: a portal reads whatever it waits for."""
        return False

    def start_clock(self, now: float) -> None:
        """Count the times of the journal from now."""
        self.script.journal.start = now

    def clear(self) -> None:
        """Return to the initial state: no stubs, no faults, an empty journal, counters at 0."""
        self.script.clear()
        self.statistics.clear()
        if self.portal.services != self._services:  # most tests declare none
            self.portal.services = self._services

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self.script.end()

    # -- what answers

    def offers(self, name: str) -> bool:
        """Whether it has a stub or a service of that name."""
        return name.encode() in self._stubbed or self.portal.offers(name)

    def answer(self, request: Request, caller: Caller) -> Outcome:
        """Answer a request, with a stub if its service has one."""
        stubbed = self._stubbed
        # Every request comes here, and most have no stub: this must be fast.
        is_call = stubbed and request.verb == b"CALL" and request.args
        if not is_call or request.args[0] not in stubbed:
            return self.portal.answer(request, caller)
        self.statistics.requests += 1
        found = self.script.stubs.find(request.args[0], request.args[1:])
        if isinstance(found, Mismatch):
            self.script.note_unexpected(request, str(found))
            return error_reply(request.tag, "unmatched", shorten(str(found), _MAX_ERROR_TEXT))
        # A call that is refused (busy) must not use up an answer.
        if not caller.reserve(idempotent=False, is_async=not found.is_next_immediate):
            return busy_reply(request.tag)
        answer = found.take()
        if not answer.is_immediate:
            return StubCall(
                request, caller, self.limits.longest_reply, answer.closes, answer=answer
            )
        reply = answer.final(request.tag)
        if answer.closes and caller.transport == "tcp":
            return CloseAfter(reply.encode())
        return reply

    def answer_plain(
        self,
        requests: Sequence[PlainRequest],
        caller: Caller | None,
        room: int,
        until: float = math.inf,
    ) -> PlainAnswers:
        """Answer requests in order, many at once; a request with a stub is answered alone."""
        stubbed = self._stubbed
        if stubbed and requests:
            if requests[0][1] in stubbed:
                if caller is None:
                    return [], None
                outcome = self.answer(plain_to_request(requests[0]), caller)
                return ([outcome.encode()], None) if isinstance(outcome, Reply) else ([], outcome)
            requests = list(takewhile(lambda request: request[1] not in stubbed, requests))
        return self.portal.answer_plain(requests, caller, room, until)

    def note_rejected(self, request: Request) -> None:
        """Note a CALL that the connection refused; see `Dispatcher.note_rejected`."""
        self.portal.note_rejected(request)

    def _note_failure(self, service: Service) -> None:
        if len(self.script.failures) < _MAX_FAILURES:
            error = result_error(sys.exception())
            # The traceback of such an error shows our code, and its text says all.
            text = traceback.format_exc() if error is None else str(error)
            self.script.failures.append((service.name, text))

    def _note_unknown(self, request: Request) -> None:
        # Never suggest a faulty service: those are the ones without UDP.
        suggested = [
            service.name for service in self.portal.services if "udp" in service.transports
        ]
        names = [*(name.decode() for name in self.script.stubs.names), *suggested]
        close = difflib.get_close_matches(request.args[0].decode("utf-8", "replace"), names, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        self.script.note_unexpected(request, f"no stub or service has that name{hint}")
