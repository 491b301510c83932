"""Finds the answer to a frame: in the script, or else from the handler of the test."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable

import attrs
import trio

from esps_portal.journal.shown_bytes import shown_in_line
from esps_portal.log import log
from esps_portal.mock.frame_script import FrameScript, HandlerResult, frames_of
from esps_portal.mock.peer_connection import PeerConnection
from esps_portal.mock.peer_steps import AnswerStep, End
from esps_portal.net.detached import run_detached
from esps_portal.user_errors import reraise_interrupt
from esps_portal.user_functions import note_asyncio


@attrs.frozen
class Answerer:
    """Answers the frames of one connection, or of one client over UDP.

    Attributes:
        script: has the stubs and the handler.
        connection: as a handler sees it.
        where: the connection, as a report shows it.
        handlers: where handlers run that have to be awaited (`detached_nursery`).
    """

    script: FrameScript
    connection: PeerConnection
    where: str
    handlers: trio.Nursery

    @property
    def is_in_conversation(self) -> bool:
        """Whether a conversation has begun on this connection, over or not."""
        return self.script.is_in_conversation(self.connection)

    def opening(self) -> list[AnswerStep]:
        """Return what a conversation does when the connection is accepted."""
        return self.script.opening(self.connection)

    def answer(self, frame: bytes) -> list[AnswerStep] | Awaitable[HandlerResult]:
        """Return what to do about a frame, or what has to be awaited first; see `result_of`."""
        found = self.script.answer(self.connection, frame)
        if found is not None:
            return found
        handler = self.script.handler
        if handler is None:
            self.script.note_unexpected(self.connection, frame, self.where)
            # How the protocol refuses is not known, so a client that waits for a reply gets FIN.
            return [End("close")]
        try:
            result = handler(frame, self.connection)
            return result if inspect.isawaitable(result) else self._steps(result)
        except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
            reraise_interrupt(error)
            return self._failed(frame, error)

    async def result_of(self, frame: bytes, running: Awaitable[HandlerResult]) -> list[AnswerStep]:
        """Wait for an async handler; return what to do then.

        One that ignores its cancellation is left behind, with a line in the log.
        """

        def is_left() -> None:
            shown = shown_in_line(frame)
            log.warning("the handler for '%s' (%s) ignores its cancellation", shown, self.where)

        try:
            return self._steps(await run_detached(self.handlers, running, is_left))
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
            reraise_interrupt(error)
            return self._failed(frame, error)

    def failed_to_send(self, error: Exception) -> list[AnswerStep]:
        """Record that a reply is not a frame; return what to do then."""
        self.script.note_failure(f"a reply ({self.where}) is not a frame", error)
        return [End("reset")]

    def closed(self) -> None:
        """The connection has ended."""
        self.script.closed(self.connection)

    def _steps(self, result: object) -> list[AnswerStep]:
        found, end = frames_of(result), self.connection.requested_end
        return [*found, End(end)] if end else found

    def _failed(self, frame: bytes, error: BaseException) -> list[AnswerStep]:
        note_asyncio(error, self.script.handler)
        shown = shown_in_line(frame)
        self.script.note_failure(f"the handler failed for '{shown}' ({self.where})", error)
        return [End("reset")]
