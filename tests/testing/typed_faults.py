"""What a type checker says of faults and stubs: this is checked, and never run.

Each line that is wrong carries what silences it; mypy reports one that silences nothing. Pyright
reads the same file (``reportUnnecessaryTypeIgnoreComment``).
"""

from __future__ import annotations

import re
from typing import Any, Literal, assert_type

from esps_portal.testing import ANY, ANY_ARGS, FaultName, PlacedFault, PortalController, Stub


async def right(
    portal: PortalController,
    kind: Literal["close", "reset"],
    name: FaultName,
    given: dict[str, Any],
) -> None:
    assert_type(portal.fault("latency", seconds=1), PlacedFault)
    portal.fault("latency", seconds=0.5, jitter=1, seed=3, when="before", service="echo")
    portal.fault("slice", at="before-lf", pause=0.1, request=[1, 2], times=3)
    portal.fault("slice", at=4, connection=range(1, 3), transport="tcp")
    portal.fault("garbage", bytes=3, seed=4, chance=0.5, when="before")
    portal.fault("truncate", transport="udp").optional().remove()
    portal.fault("accept-close", connection=1, chance=1, seed=3)
    portal.fault("certificate", problem="wrong-name", connection=1, times=1)
    portal.fault("deaf", match="INCR", offset=3, age=1.5)
    portal.fault("reset", reply=[0, 2], reply_match=re.compile(b"OK"), to="client")
    portal.fault("patch", at=2, hex="8200", transport="udp", match=bytes.isdigit)
    portal.fault("slice", every=3, unit="connection")
    portal.fault(kind, service=None)
    portal.fault(name, **given)
    with portal.fault("drop") as fault:
        fault.wait_for(2, timeout=3)
        await fault.wait_for_async(count=2)
    stub = portal.stub("price", "a", b"b", ANY, re.compile("c"), bytes.isdigit, ANY_ARGS)
    assert_type(stub, Stub)
    portal.stub("price", lambda arg: arg.startswith(b"sku-"))


def wrong(portal: PortalController) -> None:
    portal.fault("latncy", second=1)  # type: ignore[call-overload]
    portal.fault("latency", second=1)  # type: ignore[call-overload]
    portal.fault("latency")  # type: ignore[call-overload]
    portal.fault("latency", seconds="1")  # type: ignore[call-overload]
    portal.fault("slice", at="end")  # type: ignore[call-overload]
    portal.fault("slice", when="before")  # type: ignore[call-overload]
    portal.fault("reset", seconds=1)  # type: ignore[call-overload]
    portal.fault("reset", when="during")  # type: ignore[call-overload]
    portal.fault("reset", transport="udp")  # type: ignore[call-overload]
    portal.fault("reset", service=b"echo")  # type: ignore[call-overload]
    portal.fault("accept-close", service="echo")  # type: ignore[call-overload]
    portal.fault("deaf", to="client")  # type: ignore[call-overload]
    portal.fault("reset", to="upstream")  # type: ignore[call-overload]
    portal.fault("reset", unit="frame")  # type: ignore[call-overload]
    portal.fault("reset", match=3)  # type: ignore[call-overload]
    portal.fault("drop", offset=3)  # type: ignore[call-overload]
    portal.fault("patch", at=3)  # type: ignore[call-overload]
    portal.fault("corrupt", bytes=0.5)  # type: ignore[call-overload]
    portal.fault("drop", times="3")  # type: ignore[call-overload]
    portal.stub("price", 1)  # type: ignore[arg-type]
    portal.stub("price", lambda one, two: one == two)  # type: ignore[misc, arg-type]
    portal.stub("price", ["a"])  # type: ignore[arg-type]
