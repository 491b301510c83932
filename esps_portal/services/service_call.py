"""A call of an async service, and the replies to exceptions that it raises."""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import Reply, Request
from esps_portal.services.call import Call
from esps_portal.services.replies import first_error, ok_reply
from esps_portal.services.service import Service
from esps_portal.tracebacks import hides_frame
from esps_portal.user_functions import note_asyncio

__tracebackhide__ = hides_frame


class RepliesToErrors(Protocol):
    """Turns exceptions of services into replies; a portal does."""

    def error_reply(self, request: Request, error: ReplyError, service: Service) -> Reply:
        """Return the reply for a `ReplyError` of a service."""

    def failure_reply(self, tag: bytes, service: Service) -> Reply:
        """Return the reply for the exception of a service that is being handled."""


@attrs.define(eq=False, kw_only=True)
class ServiceCall(Call):
    """A call of an async service."""

    service: Service
    portal: RepliesToErrors

    async def run(self) -> Reply:
        """Execute the service, and return the final reply.

        Only a cancellation leaves it, or Ctrl-C.
        """
        keywords = {"call": self} if self.service.wants_call else {}
        try:
            result = await self.service.function(*self.request.args[1:], **keywords)
            return ok_reply(self.request.tag, result, self.max_line)
        except ReplyError as error:
            return self.portal.error_reply(self.request, error, self.service)
        except BaseExceptionGroup as group:
            return self._reply_to_group(group)
        except (trio.Cancelled, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit() and pytest.fail() too; it is logged
            note_asyncio(error, self.service.function)
            return self.portal.failure_reply(self.request.tag, self.service)

    def _reply_to_group(self, group: BaseExceptionGroup[BaseException]) -> Reply:
        """Return the final reply for exceptions of a nursery that the service opened."""
        others, failures = group.split((trio.Cancelled, KeyboardInterrupt))
        if failures is None:
            raise group
        reply_errors, failures = failures.split(ReplyError)
        if reply_errors is not None and failures is None:
            error = first_error(reply_errors)
            reply = self.portal.error_reply(self.request, error, self.service)
        else:
            note_asyncio(group, self.service.function)
            reply = self.portal.failure_reply(self.request.tag, self.service)
        if others is not None:
            raise others from None  # it was cancelled, and failed while it ended
        return reply
