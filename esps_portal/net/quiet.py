"""Letting a loop become quiet: what has come is read and answered before anybody looks at it.

A client's `send` returns when its bytes are in our kernel. If the client then looks at the journal
from another thread, the loop may not have woken yet: the request would be missed.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

#: Seconds; a client that never stops sending must not hold up whoever looks.
AT_MOST = 0.05
#: Turns of the loop in which what has come is accepted, read and answered, however long they take.
TURNS = 20
# Seconds between two looks at what is no task of the loop.
_MOMENT = 0.001


def _never() -> bool:
    return False


async def become_quiet(is_busy: Callable[[], bool] = _never) -> None:
    """Return when every task waits and no socket that is read has anything, or soon after 50 ms.

    That is so once the accept queue and the sockets' buffers are empty: whoever accepts or reads
    waits for them in this loop. A call that runs, or a client that does not read, is not waited
    for.

    Args:
        is_busy: whether something goes on that the loop waits for and that is not read here, such
            as the search for the address of a name.
    """
    from trio.testing import wait_all_tasks_blocked  # noqa: PLC0415 - it imports pytest, which takes 0.15 s

    with trio.move_on_after(AT_MOST) as bound:
        await wait_all_tasks_blocked()
        while is_busy():
            await trio.sleep(_MOMENT)
            await wait_all_tasks_blocked()
    if bound.cancelled_caught:
        # On a machine that is busy all of that time may have been other processes'.
        for _ in range(TURNS):
            await trio.lowlevel.checkpoint()
