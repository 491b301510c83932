"""What the tests of the server may ask for."""

from __future__ import annotations

import pytest

from tests.clocks import PortalClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PortalClock:
    """Return the clock of the portal; ask for it before the portal."""
    clock = PortalClock()
    clock.use(monkeypatch)
    return clock
