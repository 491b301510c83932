"""The final replies of a service: from what it returned, or from the `ReplyError` it raised."""

from __future__ import annotations

from typing import TypeVar

import trio

from esps_portal.protocol import grammar
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import ERR, OK, Reply, error_reply
from esps_portal.services.call import Caller
from esps_portal.services.service import CloseAfter, Result, ResultError, result_to_args
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Error = TypeVar("_Error", bound=BaseException)

# Up to this many arguments, of up to this many bytes, fit the smallest max_line (512), even with
# every byte escaped.
_FEW_ARGS, _FEW_BYTES = 16, 128


def ok_reply(tag: bytes, result: Result, max_line: int) -> Reply:
    """Return the final reply for what a service returned.

    Args:
        max_line: the longest line of the portal, in bytes.

    Raises:
        ResultError: a service may not return it, or the line would be too long.
    """
    args = result_to_args(result)
    reply = Reply(tag, OK, args)
    # Nearly every reply is short enough without being measured.
    if len(args) > _FEW_ARGS or sum(map(len, args)) > _FEW_BYTES:
        size = reply.size
        if size > max_line:
            raise ResultError(f"its reply would be {size} bytes long, over {max_line}")
    return reply


def service_error_reply(tag: bytes, error: ReplyError, max_line: int) -> Reply | None:
    """Return the final reply for an error of a service; ``None``: no line can carry it."""
    code = error.code.encode("utf-8", "replace")
    reply = Reply(tag, ERR, (code, *error.arguments))
    if grammar.NAME.fullmatch(code) and reply.size <= max_line:
        return reply
    return None


def busy_reply(tag: bytes) -> Reply:
    """Return the reply to a call for which there is no room."""
    return error_reply(tag, "busy", "too many calls run: try again")


def first_error(group: BaseExceptionGroup[_Error]) -> _Error:
    """Return the first error in a group, however deep."""
    first: _Error | BaseExceptionGroup[_Error] = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def result_error(error: BaseException | None) -> ResultError | None:
    """Return an exception if it is a `ResultError`, or the first one of a group of them."""
    if isinstance(error, BaseExceptionGroup):
        found, others = error.split(ResultError)
        # A nursery may have added its cancellation to the group.
        failures = None if others is None else others.split(trio.Cancelled)[1]
        return first_error(found) if found is not None and failures is None else None
    return error if isinstance(error, ResultError) else None


def sync_outcome(
    tag: bytes, result: Result, max_line: int, caller: Caller | None
) -> Reply | CloseAfter:
    """Return the reply, or the end of the connection, for the result of a sync service.

    Args:
        caller: `None`: a client over UDP.

    Raises:
        ResultError: as `ok_reply` does; or the connection cannot end, over UDP.
    """
    if not isinstance(result, CloseAfter):
        return ok_reply(tag, result, max_line)
    if caller is None or caller.transport == "udp":
        raise ResultError("UDP has no connection to end: declare transports=['tcp']")
    return result
