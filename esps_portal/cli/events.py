"""Events as JSON lines on standard output, for a program that may not read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from esps_portal.cli.line_writer import LineWriter
from esps_portal.cli.output import has_stdout


class Events:
    """Writes events without waiting for the reader; see `LineWriter`."""

    def __init__(self) -> None:
        # If it is closed, printing the event "ready" has failed before.
        descriptor = sys.stdout.fileno() if has_stdout() else -1
        self._writer = LineWriter(descriptor, lambda lost: _line({"event": "lost", "count": lost}))

    def put(self, event: Mapping[str, object]) -> None:
        """Queue an event to be written."""
        self._writer.put(_line(event))

    async def run(self) -> None:
        """Write events until `finish`, or until the reader is gone."""
        await self._writer.run()

    async def finish(self, last: Mapping[str, object]) -> None:
        """Queue a last event, and wait at most a second until all is written."""
        self.put(last)
        await self._writer.finish()


def _line(event: Mapping[str, object]) -> bytes:
    return json.dumps(event).encode() + b"\n"
