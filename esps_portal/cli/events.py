"""Events as JSON lines on standard output, for a program that may or may not read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from esps_portal.cli.line_writer import LineWriter


class Events:
    """Writes events as they come; see `LineWriter`."""

    def __init__(self) -> None:
        # Where it is closed the first event, which is printed before any comes here, says so.
        descriptor = -1 if sys.stdout is None else sys.stdout.fileno()
        self._writer = LineWriter(descriptor, lambda lost: _line({"event": "lost", "count": lost}))

    def put(self, event: Mapping[str, object]) -> None:
        """Write one, soon."""
        self._writer.put(_line(event))

    async def run(self) -> None:
        """Write what comes, until `finish` or as long as there is a reader."""
        await self._writer.run()

    async def finish(self, last: Mapping[str, object]) -> None:
        """Write one more, and wait for its reader, but not indefinitely."""
        self.put(last)
        await self._writer.finish()


def _line(event: Mapping[str, object]) -> bytes:
    return json.dumps(event).encode() + b"\n"
