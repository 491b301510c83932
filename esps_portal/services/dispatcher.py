"""The interface through which a server has requests answered.

`esps_portal.services.dispatch` has the portal itself; `esps_portal.mock.scripted` puts stubs before
one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Reply, Request
from esps_portal.protocol.received_lines import PlainRequest
from esps_portal.services.call import Call, Caller
from esps_portal.services.service import CloseAfter
from esps_portal.services.statistics import Statistics

#: What a request leads to: its reply, a call that has to run, or an end of the connection.
Outcome = Reply | Call | CloseAfter


#: The answers to plain requests: a line for each of the first ones, in order; and the outcome of
#: the request after those, if it is not such a line.
PlainAnswers = tuple[list[bytes], Outcome | None]


class Dispatcher(Protocol):
    """Answers the requests of a server: a `Portal`, or stubs in front of one."""

    product: str
    limits: Limits
    statistics: Statistics

    def answer(self, request: Request, caller: Caller) -> Outcome:
        """Return the reply; or a `Call` to run, or a `CloseAfter` to carry out."""

    def answer_plain(
        self,
        requests: Sequence[PlainRequest],
        caller: Caller | None,
        room: int,
        until: float = math.inf,
    ) -> PlainAnswers:
        """Answer the first of some requests, at least one, in order.

        It ends with the first request whose outcome is not a reply, and may end before. What it has
        no answer for was not executed.

        Args:
            caller: `None` over UDP, where a caller is created only if it is needed. Then it ends
                before a call that needs a caller, even the first one; and it ends with the first
                request whose answer is not its own arguments: its `Reply` is then the last outcome.
            room: bytes. It also ends with the call whose reply uses them up. A reply that repeats
                the arguments of its request does not count: the request was as long.
            until: seconds on `clock.monotonic`, after which it ends before the next call.
        """

    def note_rejected(self, request: Request) -> None:
        """Note a CALL that the connection refused before it could be answered."""
