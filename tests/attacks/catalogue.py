"""All attacks, in the order in which they are run."""

from __future__ import annotations

from tests.attacks import (
    by_connections,
    by_control,
    by_datagrams,
    by_exhaustion,
    by_lines,
    by_reading,
    by_relays,
    by_servers,
    by_tls,
)
from tests.attacks.attack import Attack

ATTACKS: tuple[Attack, ...] = (
    *by_connections.ATTACKS,
    *by_reading.ATTACKS,
    *by_lines.ATTACKS,
    *by_datagrams.ATTACKS,
    *by_exhaustion.ATTACKS,
    *by_tls.ATTACKS,
    *by_control.ATTACKS,
    *by_relays.ATTACKS,
    *by_servers.ATTACKS,
)
