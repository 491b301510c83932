"""A recording in memory, of calls that a test notes in a journal."""

from __future__ import annotations

import json
from typing import Any

from esps_portal.journal.journal import Journal
from esps_portal.journal.recording import RecordedAnswer, began_line, entry_line, read_recording
from esps_portal.journal.records import REPLIED, Entry
from esps_portal.protocol.messages import readable_request

PEER = ("127.0.0.1", 5000)
BEGAN = began_line("2026-11-23T17:52:04.985728Z", "esps-portal/0.1.0")


class Recorded:
    """A journal, and the bytes of its recording."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.data = BEGAN
        self.journal.sinks.append(self._write)

    def _write(self, entry: Entry) -> None:
        self.data += entry_line(entry)

    def call(
        self, line: bytes, sent: bytes, state: str = REPLIED, *, transport: str = "tcp"
    ) -> None:
        request = readable_request(line)
        record = self.journal.received(transport, PEER, None, line, request, 1)
        self.journal.ended(record, state, sent, 2)

    @property
    def values(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data.splitlines()]

    def answers(self) -> list[RecordedAnswer]:
        return read_recording(self.data)
