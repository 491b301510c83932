"""Checks that trio runs the caller, and otherwise says what to use under another event loop."""

from __future__ import annotations

import trio

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def check_trio(name: str, instead: str) -> None:
    """Check that trio runs the caller.

    Args:
        name: what needs it, such as ``connect()``.
        instead: what to use under asyncio.

    Raises:
        RuntimeError: it does not.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError(
            f"{name} needs trio's event loop (trio.run, or anyio on trio); under asyncio: {instead}"
        ) from None
