"""A running call whose stub has an answer with DATA lines or waits."""

from __future__ import annotations

import attrs
import trio

from esps_portal.mock.stubs import StubAnswer
from esps_portal.protocol.messages import Reply
from esps_portal.services.call import Call


@attrs.define(eq=False, kw_only=True)
class StubCall(Call):
    """The call of a stub whose answer has steps."""

    answer: StubAnswer

    async def run(self) -> Reply:
        """Perform the steps; return the final reply."""
        for step in self.answer.steps:
            if isinstance(step, tuple):
                await self.data(*step)
            else:
                await trio.sleep(step)
        return self.answer.final(self.tag)
