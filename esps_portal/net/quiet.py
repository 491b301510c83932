"""Waits until a loop is quiet: everything that has arrived was read and answered.

A client's `send` returns when its bytes are in our kernel. If the client then looks at the journal
from another thread, the loop may not have woken yet, and the request would be missed.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

#: Seconds; a client that never stops sending must not hold up the caller.
AT_MOST = 0.05
#: Turns of the loop in which what has come is accepted, read and answered, however long they take.
TURNS = 20
#: Seconds for what else may go on (``is_busy``). On a busy machine a thread that resolves a name
#: takes longer than the above; a server that answers no connect must not hold up the caller.
BUSY_AT_MOST = 0.5
# Seconds between two checks of ``is_busy``.
_MOMENT = 0.001


def _never() -> bool:
    return False


async def become_quiet(is_busy: Callable[[], bool] = _never) -> None:
    """Return when every task waits and no socket that is read has anything, or soon after 50 ms.

    That is so once the accept queue and the sockets' buffers are empty: the tasks that accept or
    read wait for them in this loop. A call that runs, or a client that does not read, is not waited
    for.

    Args:
        is_busy: whether something goes on, such as a connect, that has to end before everything
            that has come can be read. This waits for its end for at most half a second.
    """
    await _until_blocked()
    if is_busy():
        with trio.move_on_after(BUSY_AT_MOST):
            while is_busy():  # noqa: ASYNC110 - who is busy need not know who looks
                await trio.sleep(_MOMENT)
        await _until_blocked()


async def _until_blocked() -> None:
    from trio.testing import wait_all_tasks_blocked  # noqa: PLC0415 - it imports pytest, which takes 0.15 s

    with trio.move_on_after(AT_MOST) as bound:
        await wait_all_tasks_blocked()
    if bound.cancelled_caught:
        # On a busy machine other processes may have had all of that time.
        for _ in range(TURNS):
            await trio.lowlevel.checkpoint()
