"""What SIGHUP does without a terminal: reads files again, and reopens those that are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from esps_portal.log import log
from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    from esps_portal.cli.events import Events
    from esps_portal.journal.append_file import AppendFile


class CannotReloadError(Exception):
    """Something cannot be reloaded; nothing was changed."""


#: Reloads one thing and returns a message for the log; raises `CannotReloadError`.
Reload = Callable[[], str]


def reload_all(reloads: Sequence[Reload], events: Events | None) -> None:
    """Call each of ``reloads``, and report each result in the log and as an event."""
    if not reloads:
        log.info("SIGHUP: nothing to reload: no file was given")
    for reload in reloads:
        error = None
        try:
            log.info("SIGHUP: %s", visible(reload()))
        except CannotReloadError as failure:
            error = visible(str(failure))
            log.error("SIGHUP: not reloaded: %s", error)
        if events is not None:
            events.put({"event": "reloaded", "error": error})


def reopen(file: AppendFile, doing: str) -> str:
    """Write to a new file, if the old one was renamed or removed.

    Args:
        doing: ``recording`` or ``capturing``, for the message.
    """
    from esps_portal.journal.append_file import CannotRecordError  # noqa: PLC0415 - help must not wait

    try:
        file.reopen()
    except CannotRecordError as error:
        raise CannotReloadError(str(error)) from error
    return f"{doing} to {file.path}"
