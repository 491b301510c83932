"""Time that stands still until a test moves it, for a portal that runs in a thread of its own.

What is late by ten minutes is then late however busy the machine is, and comes the moment the test
wants it: nothing is waited for, and nothing is a race.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing


@attrs.define
class PortalClock:
    """The clock of each loop that starts in a thread after it: of portals, and of proxies."""

    _clock: trio.testing.MockClock = attrs.field(factory=trio.testing.MockClock)
    _token: trio.lowlevel.TrioToken | None = None

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Let `trio.run` have this clock for the length of a test."""
        patch.setattr(trio, "run", functools.partial(self._run, trio.run))

    def _run(
        self,
        run: Callable[..., object],
        function: Callable[[], Awaitable[object]],
        **options: object,
    ) -> object:
        async def main() -> object:
            self._token = trio.lowlevel.current_trio_token()
            return await function()

        return run(main, **{**options, "clock": self._clock})

    def jump(self, seconds: float) -> None:
        """Move it, once nothing is left to do in the portal but to wait."""
        assert self._token is not None, "the portal was started before its clock"

        async def jump() -> None:
            await trio.testing.wait_all_tasks_blocked()
            self._clock.jump(seconds)

        trio.from_thread.run(jump, trio_token=self._token)
