"""What SIGHUP does to a server that has no terminal: it reads its files again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    from esps_portal.cli.events import Events
    from esps_portal.journal.record_file import RecordFile

_log = logging.getLogger("esps_portal")


class CannotReloadError(Exception):
    """Something cannot be reloaded; all stays as it is."""


#: Reloads one thing, and says so in words; raises `CannotReloadError`.
Reload = Callable[[], str]


def reload_all(reloads: Sequence[Reload], events: Events | None) -> None:
    """Reload one thing after another, and log a line for each."""
    if not reloads:
        _log.info("SIGHUP: nothing to reload: there is no --scenario, --replay or --record")
    for reload in reloads:
        error = None
        try:
            _log.info("SIGHUP: %s", visible(reload()))
        except CannotReloadError as failed:
            error = visible(str(failed))
            _log.error("SIGHUP: not reloaded: %s", error)
        if events is not None:
            events.put({"event": "reloaded", "error": error})


def reopen(record: RecordFile) -> str:
    """Go on recording in a new file, where the old one was renamed or removed."""
    from esps_portal.journal.record_file import CannotRecordError  # noqa: PLC0415 - help must not wait

    try:
        record.reopen()
    except CannotRecordError as error:
        raise CannotReloadError(str(error)) from error
    return f"recording to {record.path}"
