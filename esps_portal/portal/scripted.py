"""A portal that does what a test says: stubs before services, faults, and a journal of it all."""

from __future__ import annotations

import difflib
import traceback

import attrs

from esps_portal.portal.acting import as_task
from esps_portal.portal.answering import Call, Outcome, Portal, check
from esps_portal.portal.faults import FaultBook
from esps_portal.portal.journal import Journal
from esps_portal.portal.services import Caller, CloseAfter, Service
from esps_portal.portal.statistics import Statistics
from esps_portal.portal.stubs import Mismatch, Stub, StubBook
from esps_portal.protocol.messages import Reply, Request, refusal

# Characters of an error's words: this many fit any line, however they are escaped.
_WORDS = 150
_MOST_UNEXPECTED = 100
_MOST_FAILURES = 10


@attrs.define(eq=False)
class Script:
    """What is to happen, and what has."""

    stubs: StubBook = attrs.field(factory=StubBook)
    faults: FaultBook = attrs.field(factory=FaultBook)
    journal: Journal = attrs.field(factory=Journal)
    #: The first unforeseen calls, each with why it was refused.
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
        """Notify whoever waits that nothing more will happen."""
        self.journal.end()
        self.faults.watches.end()

    def note_unexpected(self, request: Request, why: str) -> None:
        """Remember an unforeseen call; of a flood the beginning is enough."""
        if len(self.unexpected) < _MOST_UNEXPECTED:
            self.unexpected.append((request, why))


class ScriptedPortal(Portal):
    """A portal whose stubs come before its services, on either transport.

    Args:
        portal: its services are those that stubs come before.
    """

    def __init__(self, portal: Portal) -> None:
        super().__init__(portal.services, product=portal.product, limits=portal.limits)
        self.statistics: Statistics = portal.statistics
        self.script: Script = Script()
        self._offered = dict(self._services)
        self._stubbed = self.script.stubs.by_name

    def reset(self) -> None:
        """Go back to how it was made: no stubs, no faults, an empty journal, counters at 0."""
        self.script.clear()
        self.statistics.clear()
        self._services.clear()
        self._services.update(self._offered)

    def answer(self, request: Request, caller: Caller) -> Outcome:
        """Answer a request, with a stub if one matches."""
        stubbed = self._stubbed
        # Every request passes here and most tests have few stubs, so the name is tried first. And
        # before Python 3.12 super() would take a tenth of the time of a whole request.
        is_call = stubbed and request.verb == b"CALL" and request.args
        if not is_call or request.args[0] not in stubbed:
            return Portal.answer(self, request, caller)
        found = self.script.stubs.find(request.args[0], request.args[1:])
        self.statistics.requests += 1
        if isinstance(found, Mismatch):
            self.script.note_unexpected(request, str(found))
            return refusal(request.tag, "unmatched", _bounded(str(found)))
        return self._answer_with(found, request, caller)

    def note_failure(self, service: Service) -> None:
        """Note that a service has failed; called while its exception is handled."""
        super().note_failure(service)
        if len(self.script.failures) < _MOST_FAILURES:
            self.script.failures.append((service.name, traceback.format_exc()))

    def _unknown(self, request: Request) -> Reply:
        if request.verb == b"CALL":
            self.script.note_unexpected(request, self._unknown_in_words(request.args[0]))
        return super()._unknown(request)

    def _unknown_in_words(self, name: bytes) -> str:
        # A suggestion is never a service that misbehaves: those are the ones without UDP.
        meant = [service.name for service in self.services if "udp" in service.transports]
        names = [*(name.decode() for name in self.script.stubs.names), *meant]
        close = difflib.get_close_matches(name.decode("utf-8", "replace"), names, 1)
        return f"no stub or service has that name{f'; did you mean {close[0]}?' if close else ''}"

    def _answer_with(self, found: Stub, request: Request, caller: Caller) -> Outcome:
        # A call that is refused for lack of room uses nothing up.
        refused = check(request, _INSTANT if found.is_instant else _TASK, caller)
        if refused is not None:
            return refused
        answer = found.take()
        if not answer.instant:
            call = Call(request, as_task(answer), caller, self)
            call.closes = answer.closes
            return call
        reply = answer.final(request.tag)
        if answer.closes and caller.transport == "tcp":
            return CloseAfter(reply.encode())
        return reply


def _instant(*_args: bytes) -> None:
    """The service that an instant stub is admitted as; never executed."""


async def _task(*_args: bytes) -> None:
    """The service that a stub with a wait is admitted as; never executed."""


# A stub is not idempotent, and takes as many arguments as it matches.
_INSTANT = Service.declare(_instant, name="stub")
_TASK = Service.declare(_task, name="stub")


def _bounded(words: str) -> str:
    return words if len(words) <= _WORDS else f"{words[: _WORDS - 3]}..."
