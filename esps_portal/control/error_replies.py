"""Turns errors into replies: one line that says what is wrong, never a traceback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from esps_portal.control.http_messages import HttpError, Reply
from esps_portal.journal.values import ScenarioError
from esps_portal.log import log
from esps_portal.net.bind import CannotBindError


class EndedError(Exception):
    """The connection ends without a reply."""


async def reply_of(answer: Callable[[], Awaitable[Reply]]) -> Reply:
    """Return the reply that is made, or that of the error that was raised.

    Raises:
        EndedError, trio.BrokenResourceError, trio.ClosedResourceError: the connection has ended.
    """
    try:
        return await answer()
    except (EndedError, trio.BrokenResourceError, trio.ClosedResourceError):
        raise
    except HttpError as error:
        return Reply.of_error(error)
    except ScenarioError as error:
        return Reply.of_error(HttpError(400, error.message, key=error.path))
    except CannotBindError as error:
        return Reply.of_error(HttpError(500, str(error)))
    except Exception:  # noqa: BLE001 - a defect in one endpoint; it is logged
        log.exception("a request of the control port has failed")
        return Reply.of_error(HttpError(500, "this is a defect: the log of the server has more"))
