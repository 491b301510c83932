"""A stub's answer that takes its time, as a call that the server runs."""

from __future__ import annotations

import attrs
import trio

from esps_portal.mock.stubs import Answer
from esps_portal.protocol.messages import Reply
from esps_portal.services.dispatch import Call


@attrs.define(eq=False, kw_only=True)
class StubCall(Call):
    """A stub's answer that takes its time."""

    answer: Answer

    async def run(self) -> Reply:
        """Wait and send as the answer says."""
        for step in self.answer.steps:
            if isinstance(step, tuple):
                await self.data(*step)
            else:
                await trio.sleep(step)
        return self.answer.final(self.tag)
